/**
 * Notifications and kill -9: whatever the worker was doing, each change that the table took is told, in the order of its item.
 */
import assert from "node:assert/strict";
import { openHook, schemaOf } from "../cloud/notify/fixture.ts";
import { Program } from "../support/process.ts";
import { writeSchema } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { untilStill } from "../support/until.ts";

const rounds = 3, items = ["a", "b", "c", "d", "e"];

Deno.test("notify: whenever the worker is killed, each change is told, in the order of its item", async () => {
  await using hook = await openHook();
  using dir = new TempDir();
  const schema = writeSchema(dir.path, schemaOf({ url: hook.url }).source);
  const secrets = `${dir.path}/secrets`;
  Deno.writeTextFileSync(secrets, "a secret of twenty bytes\n");
  const start = async () => {
    const program = new Program([
      ...["cloud", "--schema", schema, "--table", `embedded:${dir.path}/cloud.db`, "--broker", "--mqtt-port", "0"],
      ...["--port", "0", "--notify-secret-file", secrets],
    ]);
    const [, port] = await program.printed(/cloud: .*http:\/\/127\.0\.0\.1:(\d+)/);
    return { program, url: `http://127.0.0.1:${port}/api/items` };
  };
  // Some are taken, some are under way, some wait when it dies; now and then the receiver is away as well.
  let asked = 0;
  hook.answer = async () => {
    await new Promise((resolve) => setTimeout(resolve, 15));
    return ++asked % 150 < 5 ? 503 : 200;
  };
  const written = new Map<string, number[]>(items.map((id) => [id, []]));
  let level = 0;
  for (let round = 0; round < rounds; round++) {
    const { program, url } = await start();
    const until = performance.now() + 700 + round * 900;
    while (performance.now() < until) {
      level++;
      const body = { model: "Alarm", items: items.map((id) => ({ deviceId: "d1", id, level })) };
      const headers = { "content-type": "application/json" };
      const response = await fetch(url, { method: "PUT", headers, body: JSON.stringify(body) });
      assert.equal(response.status, 200, await response.text());
      await new Promise((resolve) => setTimeout(resolve, 10));
      for (const id of items) written.get(id)!.push(level);
    }
    await program.kill();
  }
  const { program } = await start();
  const toldOf = (id: string) => {
    const levels = hook.received.filter(({ event }) => event.subject.endsWith(`#${id}`))
      .map(({ event }) => Number(event.data.item!.level));
    // What comes again comes later; what counts is when each came first.
    return [...new Set(levels)];
  };
  const count = () => items.reduce((sum, id) => sum + toldOf(id).length, 0);
  await untilStill("all are told", () => count() >= level * items.length, count, 30_000);
  for (const id of items) assert.deepEqual(toldOf(id), written.get(id), `of ${id}`);
  assert.ok(hook.received.every(({ headers }) => headers.get("webhook-signature")?.startsWith("v1,")));
  assert.doesNotMatch(program.stderr, /hush-hush/);
  await program[Symbol.asyncDispose]();
});
