/** The handler as its variables say it: what is opened, what is refused by name, and that it is closed. */
import assert from "node:assert/strict";
import { handlerFromEnvironment } from "../../cloud/mod.ts";
import { SyncError } from "../../schema.ts";
import { TempDir } from "../support/temp_dir.ts";

const schemaText = JSON.stringify({
  format: "onetable:1.1.0",
  version: "1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Note: {
      pk: { type: "string", value: "note" },
      sk: { type: "string", value: "${id}" },
      id: { type: "string", required: true },
      text: { type: "string" },
    },
  },
  process: { Note: { sync: "both" } },
});

/** The variables of a handler on an embedded table of the folder; `more` alters some. */
function variables(folder: TempDir, more: Readonly<Record<string, string>> = {}): (name: string) => string | undefined {
  const all: Readonly<Record<string, string>> = {
    TWINTABLE_SCHEMA: folder.file("schema.json"),
    TWINTABLE_TABLE: `embedded:${folder.file("cloud.db")}`,
    TWINTABLE_TOKEN: "a-token-of-the-test",
    ...more,
  };
  return (name) => all[name];
}

function asked(path: string, token?: string, init: RequestInit = {}): Request {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return new Request(`http://handler${path}`, { ...init, headers: { "content-type": "application/json", ...headers } });
}

Deno.test("handler from variables: it serves the table by the token, and a second one finds what the first wrote", async () => {
  using folder = new TempDir();
  Deno.writeTextFileSync(folder.file("schema.json"), schemaText);
  const body = JSON.stringify({ model: "Note", item: { id: "n1", text: "written" } });
  {
    await using handler = await handlerFromEnvironment(variables(folder));
    const status = async (request: Request) => (await handler.fetch(request)).status;
    assert.equal(await status(asked("/healthz")), 200);
    assert.equal(await status(asked("/readyz")), 200);
    assert.equal(await status(asked("/api/devices")), 401);
    assert.equal(await status(asked("/api/devices", "another")), 401);
    assert.equal(await status(asked("/api/items", "a-token-of-the-test", { method: "PUT", body })), 200);
    // Without a publisher nothing can be published.
    assert.equal(await status(asked("/up", "a-token-of-the-test", { method: "POST", body: "{}" })), 503);
    assert.equal(await status(asked("/stream", "a-token-of-the-test", { method: "POST", body: "[]" })), 503);
  }
  const tokens = JSON.stringify([{ name: "reader", token: "reads-and-no-more", scopes: ["read"] }]);
  await using again = await handlerFromEnvironment(
    variables(folder, { TWINTABLE_TOKEN: "", TWINTABLE_TOKENS: tokens }),
  );
  const page = await (await again.fetch(asked("/api/items?model=Note", "reads-and-no-more"))).json();
  assert.deepEqual(page.items.map(({ text }: { text: string }) => text), ["written"]);
  assert.equal((await again.fetch(asked("/api/items", "reads-and-no-more", { method: "PUT", body }))).status, 403);
});

Deno.test("handler from variables: what is missing or wrong is named, and nothing is left open", async () => {
  using folder = new TempDir();
  Deno.writeTextFileSync(folder.file("schema.json"), schemaText);
  const wrong: readonly (readonly [Readonly<Record<string, string>>, RegExp])[] = [
    [{ TWINTABLE_TOKEN: "" }, /TWINTABLE_TOKEN is missing/],
    [{ TWINTABLE_TOKENS: "[]" }, /TWINTABLE_TOKEN and TWINTABLE_TOKENS are one too many/],
    [{ TWINTABLE_SCHEMA: "" }, /TWINTABLE_SCHEMA is missing/],
    [{ TWINTABLE_TABLE: "" }, /TWINTABLE_TABLE is missing/],
    [{ TWINTABLE_TABLE: "mysql://x" }, /TWINTABLE_TABLE is embedded:PATH or dynamodb/],
    [{ TWINTABLE_TABLE: "dynamodb://TABLE?colour=red" }, /TWINTABLE_TABLE: /],
    [{ TWINTABLE_MQTT_VERSION: "6" }, /TWINTABLE_MQTT_VERSION is "6"/],
    [{ TWINTABLE_MQTT_CA: folder.file("none.pem") }, /TWINTABLE_MQTT_CA: .*none\.pem can't be read/],
    [{ TWINTABLE_RETENTION_HOURS: "a week" }, /TWINTABLE_RETENTION_HOURS is "a week"/],
    [{ TWINTABLE_PUBLISHER: "carrier-pigeon://x" }, /carrier-pigeon|publisher/i],
  ];
  for (const [more, message] of wrong) {
    await assert.rejects(handlerFromEnvironment(variables(folder, more)), (error: unknown) => {
      assert.ok(error instanceof SyncError, `${JSON.stringify(more)}: ${error}`);
      assert.match(error.message, message);
      return true;
    });
  }
  await assert.rejects(
    handlerFromEnvironment(variables(folder, { TWINTABLE_SCHEMA: folder.file("none.json") })),
    /none\.json/,
  );
});
