/**
 * Makes golden files: once for each release, with the released build, and never again over files that are there.
 *
 *     deno run -A --no-check tests/golden/make.ts FOLDER             # everything
 *     deno run -A --no-check tests/golden/make.ts FOLDER --later     # messages that no folder has yet
 *
 * It uses little but what `mod.ts`, `cloud/mod.ts`, `protocol.ts` and `schema.ts` export, so that it can be copied into the
 * tree of any release. It needs Mosquitto, which hears what both sides say.
 *
 * What it makes: `messages.json` (each message, encoded each way), `said.json.gz` (what a cloud and two devices said to each
 * other while they synced), `device.db.gz` (a device's database with changes that wait and that are in flight, bases,
 * conflicts, rejections and an item that is set aside), `cloud.db.gz` (the embedded table of that cloud, with changes that
 * were not passed on), `expected.json` (what stands in both), `facts.json` (digests, ids, stamps, page tokens).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { gzipSync } from "node:zlib";
import mqtt from "mqtt";
import { startCloud } from "../../cloud/mod.ts";
import { openAgent } from "../../mod.ts";
import { Decoder, DigestSum, encode, itemDigest } from "../../protocol.ts";
import { compileSchema, completeItem } from "../../schema.ts";
import { encodeToken } from "../../cloud/dynamodb/page_token.ts";
import { ulid, uuid } from "../../schema/generate.ts";
import { freePort } from "../support/mosquitto.ts";
import { until } from "../support/until.ts";
import { golden, messageSets } from "./golden.ts";
import { type GoldenMessage, goldenMessages, laterMessages } from "./messages.ts";
import { goldenAccount, goldenDevices, goldenSchema } from "./schema.ts";

const folder = Deno.args[0] ?? "";
if (folder === "" || existsSync(`${folder}/messages.json`)) {
  console.error("usage: make.ts FOLDER, where there are no golden files yet");
  Deno.exit(2);
}
mkdirSync(folder, { recursive: true });
const scratch = Deno.makeTempDirSync({ prefix: "twintable-golden-" });
const schema = compileSchema(goldenSchema);
const [first, second] = goldenDevices;

/** After a start, a removal waits for 30 s. */
const timeoutMs = 60_000;

/** New Year 2026, and what has passed since the start. */
const beganMs = performance.now();
const now = () => Math.round(Date.UTC(2026, 0, 1) + performance.now() - beganMs);
const clock = { wallMs: now, monotonicMs: () => performance.now() };

function write(name: string, content: unknown): void {
  writeFileSync(`${folder}/${name}`, JSON.stringify(content, null, 1) + "\n");
}

function messages(all: readonly GoldenMessage[]): void {
  const text = (payload: Uint8Array) => new TextDecoder().decode(payload);
  const base64 = (payloads: Uint8Array[]) => payloads.map((payload) => Buffer.from(payload).toString("base64"));
  write(
    "messages.json",
    all.map(({ name, direction, message }) => ({
      name,
      direction,
      message,
      plain: text(encode(message)[0]!),
      inflates: text(encode(message, { inflates: true })[0]!),
      deflated: base64(encode(message, { deflate: true })),
      parts: base64(encode(message, { maxBytes: 1024 })),
      deflatedParts: base64(encode(message, { deflate: true, maxBytes: 1024 })),
    })),
  );
}

/** Another folder has the message. */
function isFrozen(name: string): boolean {
  const sets = messageSets.filter((set) => existsSync(new URL(`./${set}/messages.json`, import.meta.url)));
  return sets.some((set) => golden<GoldenMessage[]>(set, "messages.json").some((message) => message.name === name));
}

async function broker(): Promise<{ port: number; stop(): Promise<void> }> {
  const port = await freePort(), conf = `${scratch}/mosquitto.conf`;
  writeFileSync(
    conf,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 10000\n`,
  );
  const child = new Deno.Command("mosquitto", { args: ["-c", conf], stdout: "null", stderr: "null" }).spawn();
  await until(
    "Mosquitto listens",
    () => Deno.connect({ hostname: "127.0.0.1", port }).then((c) => (c.close(), true), () => false),
  );
  return {
    port,
    async stop() {
      child.kill("SIGTERM");
      await child.status;
    },
  };
}

/** What goes over the broker, in order. */
interface Said {
  readonly topic: string;
  readonly atMs: number;
  readonly payload: string;
  /** Decoded; absent for a part that is not the last, and for a presence. */
  readonly message?: unknown;
}

async function hear(url: string): Promise<{ said: Said[]; end(): Promise<void> }> {
  const said: Said[] = [], client = await mqtt.connectAsync(url);
  const decoders = new Map<string, Decoder>();
  client.on("message", (topic, payload) => {
    const kind = topic.split("/").at(-1)!,
      parsed = kind === "presence" || topic.includes("/w/") ? undefined : (() => {
        const decoder = decoders.get(topic) ?? new Decoder({ now });
        decoders.set(topic, decoder);
        return kind === "up" || kind === "sync" ? decoder.accept(payload, "up") : decoder.accept(payload, "down");
      })();
    said.push({
      topic,
      atMs: now(),
      payload: Buffer.from(payload).toString("base64"),
      ...(parsed ? { message: parsed } : {}),
    });
  });
  await client.subscribeAsync("tt/#", { qos: 1 });
  return { said, end: () => client.endAsync() };
}

/** Every row of every table, but SQLite's own. */
function contents(file: string): Record<string, unknown[]> {
  const db = new DatabaseSync(file, { readOnly: true, readBigInts: true });
  const names = db.prepare(
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
  ).all();
  const plain = (value: unknown) => {
    if (typeof value === "bigint") return Number(value);
    if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString("base64") };
    if (typeof value !== "string" || value.length <= 2_000) return value;
    return { sha256: createHash("sha256").update(value).digest("hex") };
  };
  const tables = Object.fromEntries(names.map(({ name }) => [
    String(name),
    db.prepare(`SELECT * FROM "${name}"`).all().map((row) =>
      Object.fromEntries(Object.entries(row).map(([column, value]) => [column, plain(value)]))
    ),
  ]));
  db.close();
  return tables;
}

function pack(file: string, name: string): void {
  const db = new DatabaseSync(file);
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  db.exec("PRAGMA journal_mode = DELETE");
  db.close();
  writeFileSync(`${folder}/${name}`, gzipSync(readFileSync(file)));
}

async function live(): Promise<void> {
  const { port, stop } = await broker();
  const url = `mqtt://127.0.0.1:${port}`, cloudFile = `${scratch}/cloud.db`;
  const { said, end } = await hear(url);
  const cloud = await startCloud({ schema, table: `embedded:${cloudFile}`, mqtt: url, now });
  const tokens: Record<string, string> = {};
  for (const device of goldenDevices) tokens[device] = await cloud.registry.add(device, goldenAccount);
  const put = async (model: string, attributes: Record<string, unknown>) => {
    const item = completeItem(
      schema,
      schema.models.get(model)!,
      { ...attributes, updated: new Date(now()).toISOString() } as never,
    );
    const [result] = await cloud.tables.data.write([{ op: "put", item }]);
    if (result?.outcome !== "written") throw new Error(JSON.stringify(result));
  };
  const open = (device: string) =>
    openAgent({
      schema: goldenSchema,
      device,
      account: goldenAccount,
      path: `${scratch}/${device}.db`,
      mqtt: url,
      clock,
    });
  // What is there before any device: the snapshots have it.
  await put("Command", { deviceId: first, name: "interval", value: 5 });
  await put("Command", { deviceId: second, name: "interval", value: 6 });
  await put("Setting", { name: "theme", value: "dark" });
  await put("Asset", { accountId: goldenAccount, id: "pump", label: "Pump 1" });
  // More than a page of a snapshot has.
  for (let n = 0; n < 520; n++) await put("Command", { deviceId: second, name: `c${n}`, value: n });
  for (let n = 0; n < 30; n++) await put("Note", { deviceId: first, name: `cloud-${n}`, text: `from the cloud ${n}` });
  let one = await open(first);
  const two = await open(second);
  const settled = async () => {
    await Promise.all([one.flush({ timeoutMs }), two.flush({ timeoutMs })]);
    await Promise.all([one.sync({ timeoutMs }), two.sync({ timeoutMs })]);
  };
  await settled();
  // Both write what they have of their own, and what they share.
  one.model("Note").create({
    name: "plan",
    text: "größer 𝄞",
    level: 3,
    active: true,
    due: new Date(Date.UTC(2026, 5, 1)),
    body: { a: [1, null], $b: "no binary" },
    tags: new Set(["x", "y"]),
    steps: [1, "two"],
    blob: new Uint8Array([0, 1, 255]),
    secret: "stays here",
  });
  for (let n = 0; n < 50; n++) one.model("Sample").create({ value: n / 4 });
  one.model("Rule").create({ name: "cap", limit: 1 });
  one.model("Profile").create({ name: "me", email: "a@example.org", phone: "1" });
  one.model("Slot").create({ name: "left", place: "A1" });
  one.model("Member").create({ name: "ada", role: "owner" });
  one.model("Note").create({ name: "long", text: "0123456789".repeat(20_000) });
  await settled();
  two.model("Member").upsert({ name: "ada", role: "guest" });
  two.model("Asset").create({ id: "valve", label: "Valve" });
  one.model("Note").update({ name: "plan" } as never, { set: { text: "changed" } } as never);
  one.model("Note").remove({ name: "cloud-0" } as never);
  await settled();
  await put("Slot", { deviceId: first, name: "right", place: "A1" });
  await put("Note", { deviceId: first, name: "cloud-1", text: "changed by an application" });
  await put("Profile", { deviceId: first, name: "me", email: "b@example.org", phone: "1" });
  await settled();
  await two.verify({});
  await one.verify({});
  const { data } = cloud.tables;
  facts({
    primary: (await data.query({ index: "primary", hash: `device#${second}`, limit: 2 })).next,
    prefix: (await data.query({ index: "primary", hash: `device#${second}`, sortPrefix: "command#c", limit: 2 })).next,
    secondary: (await data.query({ index: "gs1", hash: `account#${goldenAccount}`, limit: 1 })).next,
    scan: (await data.scan({ limit: 2 })).next,
  });
  // The first one goes offline; both sides write, so that there are conflicts and removals to meet.
  await one.close();
  const file = `${scratch}/${first}.db`;
  const application = (sql: string) => {
    const db = new DatabaseSync(file);
    db.exec("PRAGMA busy_timeout = 5000");
    db.exec(sql);
    db.close();
  };
  application(`UPDATE Rule SET "limit" = 2 WHERE name = 'cap'`);
  application(`UPDATE Profile SET phone = '2' WHERE name = 'me'`);
  application(`UPDATE Note SET text = 'offline' WHERE name = 'cloud-2'`);
  application(`DELETE FROM Note WHERE name = 'cloud-3'`);
  application(`INSERT INTO Note(name, text) VALUES ('huge', hex(zeroblob(250000)))`);
  await put("Rule", { deviceId: first, name: "cap", limit: 9 });
  await put("Profile", { deviceId: first, name: "me", email: "c@example.org", phone: "1" });
  await cloud.tables.data.write([{ op: "delete", key: [`device#${first}`, "note#cloud-2"] }]);
  one = await open(first);
  await settled();
  // The cloud ends. What is written now is sent and never answered, or waits.
  const devices = [one, two] as const;
  await cloud.close();
  one.model("Note").create({ name: "in flight", text: "sent" });
  await until("a batch is in flight", () => one.status().inflight > 0);
  one.model("Note").create({ name: "in flight too", level: 2 });
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (const device of devices) await device.close();
  await end();
  await stop();
  application(`INSERT INTO Note(name, text) VALUES ('waits', 'an insert')`);
  application(`UPDATE Note SET text = 'an update that waits' WHERE name = 'cloud-4'`);
  application(`DELETE FROM Note WHERE name = 'cloud-5'`);
  application(`UPDATE Note SET name = 'renamed' WHERE name = 'cloud-6'`);
  application(`INSERT OR REPLACE INTO Note(name, text) VALUES ('cloud-7', 'replaced')`);
  application(`UPDATE Rule SET "limit" = 3 WHERE name = 'cap'`);
  application(`INSERT INTO Sample(value) VALUES (99)`);
  application(`UPDATE Member SET role = 'owner' WHERE name = 'ada'`);
  pack(file, "device.db.gz");
  // Changes of the table that no worker has passed on, made by the shell.
  const shell = new DatabaseSync(cloudFile);
  shell.exec(`UPDATE items SET item = json_set(item, '$.text', 'by the shell') WHERE sort = 'note#cloud-8'`);
  shell.exec(`DELETE FROM items WHERE sort = 'note#cloud-9'`);
  shell.close();
  pack(cloudFile, "cloud.db.gz");
  writeFileSync(`${folder}/said.json.gz`, gzipSync(JSON.stringify(said)));
  write("expected.json", {
    endedMs: now(),
    tokens,
    device: contents(file),
    second: contents(`${scratch}/${second}.db`),
    cloud: contents(cloudFile),
  });
}

function facts(tokens: Record<string, string | undefined>): void {
  const item = { name: "plan", z: 1, a: { y: [1, { $n: "1.5" }], b: null }, tags: { $ss: ["a", "b"] } };
  const key = ["device#golden-1", "note#plan"] as const, sum = new DigestSum();
  const digest = itemDigest(key, item), other = itemDigest(["global", ""], { name: "other" });
  for (const one of [digest, other]) sum.add(one);
  const dynamo = { pk: { S: "device#golden-1" }, sk: { S: "note#größer" }, at: { N: "12345678901234567890" } };
  const halves = () => 0.5;
  write("facts.json", {
    item,
    key,
    digest,
    other,
    both: sum.digest,
    ids: { atMs: 1_767_225_600_000, ulid: ulid(1_767_225_600_000, halves), uuid: uuid(halves) },
    tokens: { ...tokens, dynamo: { key: dynamo, token: encodeToken(dynamo) } },
  });
}

if (Deno.args[1] === "--later") messages(laterMessages.filter(({ name }) => !isFrozen(name)));
else {
  messages(goldenMessages);
  await live();
}
Deno.removeSync(scratch, { recursive: true });
