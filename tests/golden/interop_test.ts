/**
 * Two versions work together: this tree's agent with what a released cloud said, and this tree's cloud with what released
 * devices said. Fields and messages may be added; what was there keeps its meaning.
 */
import assert from "node:assert/strict";
import { openStore } from "../../agent/store/store.ts";
import { Twin } from "../../agent/twin.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Publisher } from "../../cloud/publishers/port.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { Changes, Entry, FromCloud, FromDevice, Key, Message, Page, SnapshotPage } from "../../protocol.ts";
import { compileSchema } from "../../schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { type Expected, frozen, golden, releases, type Said, unpack } from "./golden.ts";
import { goldenAccount, goldenDevices, goldenSchema } from "./schema.ts";

const schema = compileSchema(goldenSchema);
const [first] = goldenDevices;
const identity = { deviceId: first, accountId: goldenAccount };
const textOf = (key: Key) => JSON.stringify(key);

/** A released cloud, as far as one device saw it: its messages as they were, under the ids of who asks now. */
class ReleasedCloud {
  readonly snapshots: Map<string, SnapshotPage> = new Map();
  readonly pages: Page[] = [];
  readonly live: Changes[] = [];
  /** By key, the item as the device knew it in the end. */
  readonly items: Map<string, Entry> = new Map();
  readonly heads: Map<string, { epoch: string; seq: number }> = new Map();

  constructor(said: readonly Said[], expected: Expected) {
    const topics = new Set([`tt/d/${first}/down`, `tt/a/${goldenAccount}`, "tt/all"]);
    for (const { topic, message } of said) {
      if (!topics.has(topic) || !message) continue;
      if (message.type === "snapshot" && !this.snapshots.has(message.channel)) {
        this.snapshots.set(message.channel, message);
      }
      if (message.type === "page") this.pages.push(message);
      if (message.type === "changes") this.live.push(message);
    }
    for (const { channel, epoch, seq } of expected.device._sync_channels!) {
      this.heads.set(String(channel), { epoch: String(epoch), seq: Number(seq) });
    }
    const models = new Map(expected.device._sync_models!.map(({ number, name }) => [number, String(name)]));
    for (const { hash, sort, model, base, source, stamp } of expected.device._sync_items!) {
      if (typeof base !== "string") continue;
      const version = typeof source === "string" ? { version: [source, Number(stamp)] as const } : {};
      const key = [String(hash), String(sort)] as const;
      this.items.set(textOf(key), { key, current: { model: models.get(model)!, item: JSON.parse(base), ...version } });
    }
  }

  answer(message: FromDevice, time: number): FromCloud[] {
    switch (message.type) {
      case "up":
        return [{ type: "ack", batch: message.batch, time, answers: [] }];
      case "fetch":
        return [{
          type: "items",
          request: message.request,
          entries: message.keys.map((key) => this.items.get(textOf(key)) ?? { key }),
          time,
        }];
      case "sync": {
        const { request } = message;
        if (message.channels.length === 0) return [{ type: "time", request, time }];
        return message.channels.map(({ channel, epoch, seq }) => {
          const head = this.heads.get(channel)!;
          if (epoch !== head.epoch || seq === undefined) return { ...this.snapshots.get(channel)!, request, time };
          const page = this.pages.find((one) => one.channel === channel && one.from === seq && one.to > seq);
          if (page) return { ...page, request, time };
          return { type: "page", request, channel, epoch, from: seq, to: seq, more: false, entries: [], time };
        });
      }
      default:
        // What came after that release it does not know, and drops.
        return [];
    }
  }
}

/** Whether all that a released message had is in this one as it was. */
function covers(actual: unknown, released: unknown, path: string): void {
  if (typeof released !== "object" || released === null) return assert.deepEqual(actual, released, path);
  if (Array.isArray(released)) {
    assert.equal((actual as unknown[] | undefined)?.length, released.length, `${path}.length`);
  }
  for (const [name, value] of Object.entries(released)) {
    covers((actual as Record<string, unknown> | undefined)?.[name], value, `${path}.${name}`);
  }
}

const shapeOf = (message: Message) => `${message.type} ${"channel" in message ? message.channel : ""}`;

for (const release of releases) {
  const expected = golden<Expected>(release, "expected.json");
  const said = golden<Said[]>(release, "said.json.gz");

  Deno.test(`golden ${release}: this agent syncs with a cloud of then`, async () => {
    using folder = new TempDir();
    const cloud = new ReleasedCloud(said, expected);
    let nowMs = said[0]!.atMs;
    const store = openStore({ path: folder.file("d.db"), schema, identity, now: () => nowMs });
    const queue: FromDevice[] = [];
    const twin = new Twin({
      store,
      transport: { send: (message) => (queue.push(message), true) },
      clock: { wallMs: () => nowMs, monotonicMs: () => nowMs - said[0]!.atMs },
      random: Math.random,
    });
    const answer = () => {
      for (let message = queue.shift(); message; message = queue.shift()) {
        for (const one of cloud.answer(message, nowMs)) twin.onMessage(structuredClone(one));
      }
    };
    const pass = (seconds: number) => {
      for (let n = 0; n < seconds; n++) {
        nowMs += 1_000;
        twin.tick();
        answer();
      }
    };
    try {
      twin.onConnected();
      answer();
      pass(2);
      for (const message of cloud.live) {
        twin.onMessage({ ...message, time: nowMs });
        answer();
      }
      store.db.exec("INSERT INTO Note(name, text) VALUES ('new', 'by this agent')");
      twin.onCommit();
      pass(400);
      await frozen("this agent does not take what a released cloud sends", () => {
        const bases = store.db.prepare("SELECT hash, sort, base FROM _sync_items WHERE base IS NOT NULL").all();
        const known = new Map(bases.map((row) => [textOf([String(row.hash), String(row.sort)]), String(row.base)]));
        known.delete(textOf([`device#${first}`, "note#new"]));
        assert.deepEqual([...known.keys()].sort(), [...cloud.items.keys()].sort());
        for (const [key, base] of known) assert.deepEqual(JSON.parse(base), cloud.items.get(key)!.current!.item, key);
      });
      await frozen("what this agent sends is not settled by a released answer", () => {
        assert.equal(Number(store.db.prepare("SELECT count(*) AS n FROM _outbox").get()!.n), 0);
        assert.equal(Number(store.db.prepare("SELECT count(*) AS n FROM _inflight").get()!.n), 0);
      });
    } finally {
      store.close();
    }
  });

  Deno.test(`golden ${release}: this cloud answers devices of then as their cloud did`, async () => {
    using folder = new TempDir();
    const file = unpack(release, "cloud.db.gz", folder.file("cloud.db"));
    let nowMs = 0;
    const tables = openEmbedded(file, { schema, now: () => nowMs });
    let sent: Message[] = [];
    const publisher: Publisher = { publish: (_to, message) => (sent.push(message), Promise.resolve()) };
    const service = new CloudService({ schema, tables, publisher, now: () => nowMs, random: Math.random });
    const codes = new Set(["ok", "stale", "gone", "invalid", "too-large", "clock", "throttled", "late"]);
    try {
      for (const device of goldenDevices) {
        const down = said.flatMap(({ topic, message }) => topic === `tt/d/${device}/down` && message ? [message] : []);
        for (const { topic, atMs, message } of said) {
          if (!topic.startsWith(`tt/d/${device}/`) || !message || topic.endsWith("/down")) continue;
          nowMs = atMs;
          sent = [];
          await service.receive(device, message as FromDevice);
          const idOf = (one: Message) => "batch" in one ? `batch ${one.batch}` : "request" in one ? one.request : "";
          const then = down.filter((one) => idOf(one) === idOf(message));
          await frozen(`a released device's ${message.type} is answered otherwise`, () => {
            assert.deepEqual(sent.map(shapeOf).sort(), (then.length > 0 ? then : sent).map(shapeOf).sort());
            for (const one of sent) {
              if (one.type === "ack") assert.deepEqual(one.answers.filter(({ code }) => !codes.has(code)), []);
              // What the table has by now is later; the head of an answer is the same.
              const before = then.find((other) => shapeOf(other) === shapeOf(one));
              if (before?.type === "items" && one.type === "items") {
                assert.deepEqual(one.entries.map(({ key }) => key), before.entries.map(({ key }) => key));
              }
              if (before?.type === "page" && one.type === "page") {
                covers([one.channel, one.epoch, one.from], [before.channel, before.epoch, before.from], "page");
              }
              if (before?.type === "snapshot" && one.type === "snapshot") {
                covers([one.channel, one.epoch], [before.channel, before.epoch], "snapshot");
              }
            }
          });
        }
      }
      await frozen("messages of released devices that come twice alter the table", async () => {
        const rows = expected.cloud.items!;
        const items = await tables.data.get(rows.map(({ hash, sort }) => [String(hash), String(sort)] as const));
        rows.forEach(({ item }, i) => typeof item === "string" && covers(items[i], JSON.parse(item), "item"));
      });
    } finally {
      await tables.close();
    }
  });
}
