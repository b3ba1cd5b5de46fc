/** A table's name for people, and where the AWS CLI finds it; the console of `cloud` shows it. */
import assert from "node:assert/strict";
import { placeOf } from "../../cloud/open_tables.ts";
import { Program } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { example } from "../cli/run.ts";

Deno.test("tables: a table's place is its name, and DynamoDB's with its region; credentials are in neither", () => {
  assert.deepEqual(placeOf("embedded:/var/lib/twintable/cloud.db"), { label: "cloud.db" });
  assert.deepEqual(placeOf("embedded:cloud.db"), { label: "cloud.db" });
  assert.deepEqual(placeOf("dynamodb://twin-prod?region=eu-west-1"), {
    label: "twin-prod",
    dynamo: { table: "twin-prod", region: "eu-west-1", endpoint: undefined },
  });
  const { dynamo } = placeOf("dynamodb://twin?endpoint=http%3A%2F%2Fme%3Asecret%40127.0.0.1%3A8000");
  assert.match(dynamo!.endpoint!, /127\.0\.0\.1:8000/);
  assert.doesNotMatch(dynamo!.endpoint!, /secret/);
});

Deno.test("console: a worker shows the name of its table", async () => {
  using dir = new TempDir();
  await using cloud = new Program([
    ...["cloud", "--schema", example, "--table", `embedded:${dir.file("plant.db")}`, "--broker", "--mqtt-port", "0"],
    ...["--port", "0"],
  ]);
  const [, url] = await cloud.printed(/, (http:\/\/127\.0\.0\.1:\d+)/);
  const page = await (await fetch(`${url}/fleet`)).text();
  assert.match(page, /class="env">plant\.db</);
});
