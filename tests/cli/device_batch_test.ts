/** `device add --from`: every device once, its token in the file, whatever moment it was interrupted at. */
import assert from "node:assert/strict";
import { addBatch } from "../../cli/device_batch.ts";
import { showDevice } from "../../cli/device_show.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { Fixture } from "../cloud/fixture.ts";
import { TempDir } from "../support/temp_dir.ts";
import { run } from "./run.ts";

function rig(dir: TempDir, fixture: Fixture, count = 250) {
  const registry = new Registry(fixture.tables.log, { now: fixture.now }), notes: string[] = [];
  const from = dir.file("devices.csv"), to = dir.file("tokens.jsonl");
  const ids = Array.from({ length: count }, (_, n) => `d-${n}`);
  Deno.writeTextFileSync(from, ["device,account", ...ids.map((id, n) => `${id},a-${n % 3}`), ""].join("\n"));
  const batch = { registry, from, to, note: (what: string) => Promise.resolve(void notes.push(what)) };
  const rows = () =>
    Deno.readTextFileSync(to).trim().split("\n").map((line) => JSON.parse(line) as Record<string, string>);
  return { registry, batch, ids, notes, rows };
}

async function allIn(registry: Registry, rows: Record<string, string>[]): Promise<void> {
  for (const { device, account, token } of rows) {
    assert.deepEqual(await registry.authenticate(device!, token!), { deviceId: device, accountId: account });
  }
}

Deno.test("device add --from: each device gets a token, in a file that only its owner can read; once", async () => {
  using dir = new TempDir();
  await using fixture = new Fixture();
  const { registry, batch, ids, notes, rows } = rig(dir, fixture);
  assert.deepEqual(await addBatch(batch), { added: 250, before: 0, exist: [] });
  assert.equal(Deno.statSync(batch.to).mode! & 0o777, 0o600);
  assert.deepEqual(rows().map(({ device }) => device), ids);
  assert.equal(notes.length, 3);
  await allIn(registry, rows());
  const first = Deno.readTextFileSync(batch.to);
  assert.deepEqual(await addBatch(batch), { added: 0, before: 250, exist: [] });
  assert.equal(Deno.readTextFileSync(batch.to), first);
});

for (const [where, breakAt] of [["while devices are added", 130], ["in its first chunk", 7]] as const) {
  Deno.test(`device add --from: interrupted ${where}, it continues, and every token in the file is valid`, async () => {
    using dir = new TempDir();
    await using fixture = new Fixture();
    const { registry, batch, rows } = rig(dir, fixture);
    let left = breakAt;
    const failing = Object.assign(Object.create(registry), {
      info: registry.info.bind(registry),
      add: (...args: Parameters<Registry["add"]>) => {
        if (left-- <= 0) return Promise.reject(new Error("killed"));
        return registry.add(...args);
      },
    }) as Registry;
    await assert.rejects(addBatch({ ...batch, registry: failing }), /killed/);
    // A power cut may leave half a line.
    Deno.writeTextFileSync(batch.to, '{"device":"d-2', { append: true });
    const { exist, added, before } = await addBatch(batch);
    assert.deepEqual([exist, added + before, rows().length], [[], 250, 250]);
    await allIn(registry, rows());
  });
}

Deno.test("device add --from: a device that exists is left alone and named; a wrong row stops it before anything is added", async () => {
  using dir = new TempDir();
  await using fixture = new Fixture();
  const { registry, batch, rows } = rig(dir, fixture, 5);
  const token = await registry.add("d-3", "other");
  assert.deepEqual(await addBatch(batch), { added: 4, before: 0, exist: ["d-3"] });
  assert.ok(await registry.authenticate("d-3", token));
  assert.equal(rows().length, 4);
  for (
    const [text, why] of [
      ["device,account\nd-9,a\nd 10,a\n", /row 2: device "d 10" is no id/],
      ["device\nd-9\n", /row 1: account "" is no id/],
      ["device,account\nd-9,a\nd-9,b\n", /row 2: d-9 has the account a above/],
      ["device,account\n", /names no device/],
    ] as const
  ) {
    Deno.writeTextFileSync(batch.from, text);
    await assert.rejects(addBatch({ ...batch, to: dir.file("none.jsonl") }), why);
    assert.equal(await registry.info("d-9"), undefined);
  }
});

Deno.test("device show: what is known of a device, and what it reported", async () => {
  await using fixture = new Fixture();
  const registry = new Registry(fixture.tables.log, { now: fixture.now });
  await registry.add("d1", "acme", { validMs: 86_400_000 });
  await registry.touch("d1", true, { agent: "0.1.0", outbox: 3 });
  const lines = (await showDevice(registry, "d1", fixture.now())).join("\n");
  assert.match(lines, /^device {6}d1 of account acme$/m);
  assert.match(lines, /^token {7}valid until 20/m);
  assert.match(lines, /^seen {8}20.*, connected$/m);
  assert.match(lines, /^ {2}outbox {4}3$/m);
  await assert.rejects(showDevice(registry, "d2", 0), /no device "d2"/);
});

Deno.test("device: a list of devices and show on the command line", async () => {
  using dir = new TempDir();
  Deno.writeTextFileSync(dir.file("in.jsonl"), '{"device":"d1"}\n{"device":"d2","account":"bolt"}\n');
  const where = ["--table", `embedded:${dir.file("cloud.db")}`];
  const to = dir.file("out.csv"),
    add = ["device", "add", "--from", dir.file("in.jsonl"), "--to", to, "--account", "acme"];
  const done = await run(...add, ...where);
  assert.deepEqual([done.code, done.stdout], [0, `2 added; their tokens are in ${to}\n`], done.stderr);
  assert.match(Deno.readTextFileSync(to), /^device,account,token\nd1,acme,[\w-]{43}\nd2,bolt,[\w-]{43}\n$/);
  const shown = await run("device", "show", "d2", ...where);
  assert.match(shown.stdout, /^device {6}d2 of account bolt\n/);
  assert.match((await run("device", "add", "--from", "x.csv", ...where)).stderr, /needs --to FILE/);
});
