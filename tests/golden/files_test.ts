/**
 * Files of each release open, are upgraded in place, and lose nothing: a device's database with changes that wait and that
 * are in flight, bases, conflicts and an item that is set aside; the embedded table with changes that were not passed on.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { openStore, type Store } from "../../agent/store/store.ts";
import { Twin } from "../../agent/twin.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Publisher } from "../../cloud/publishers/port.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { StreamBatch } from "../../cloud/table/port.ts";
import type { Change, FromCloud, FromDevice, Page, Up } from "../../protocol.ts";
import { compileSchema } from "../../schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { type Expected, frozen, golden, releases, type Rows, unpack } from "./golden.ts";
import { goldenAccount, goldenDevices, goldenSchema } from "./schema.ts";

const schema = compileSchema(goldenSchema);
const identity = { deviceId: goldenDevices[0], accountId: goldenAccount };

/** A value as `expected.json` has it. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint8Array) return { base64: btoa(String.fromCharCode(...value)) };
  if (typeof value !== "string" || value.length <= 2_000) return value;
  return { sha256: createHash("sha256").update(value).digest("hex") };
}

/** The rows of a table, of the columns that the release had. */
function rowsOf(store: Store, table: string, columns: readonly string[]): Rows {
  const list = columns.map((column) => `"${column}"`).join(", ");
  return store.db.prepare(`SELECT ${list} FROM "${table}"`).all()
    .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)]))) as Rows;
}

/** What each table of the agent means to the next version is in these; the others are facts of the moment. */
const kept = ["_outbox", "_inflight", "_sync_items", "_sync_channels", "_sync_aside", "_conflicts", "_rejected"];

/** Connects an agent's core to nothing but a cloud that takes every change. Virtual time. */
function sentBy(store: Store, startMs: number): Up[] {
  let nowMs = startMs;
  const queue: FromDevice[] = [], ups: Up[] = [];
  const twin = new Twin({
    store,
    transport: { send: (message) => (queue.push(message), true) },
    clock: { wallMs: () => nowMs, monotonicMs: () => nowMs - startMs },
    random: Math.random,
  });
  const heads = new Map(
    store.db.prepare("SELECT channel, epoch, seq FROM _sync_channels").all().map((row) => [String(row.channel), row]),
  );
  const answersTo = (message: FromDevice): FromCloud[] => {
    const time = nowMs;
    switch (message.type) {
      case "up":
        ups.push(message);
        return [{ type: "ack", batch: message.batch, time, answers: [] }];
      case "fetch":
        return [{ type: "items", request: message.request, entries: [], time }];
      case "sync": {
        if (message.channels.length === 0) return [{ type: "time", request: message.request, time }];
        return message.channels.map(({ channel }): Page => {
          const { epoch, seq } = heads.get(channel)!, at = Number(seq);
          const { request } = message;
          return {
            type: "page",
            request,
            channel,
            epoch: String(epoch),
            from: at,
            to: at,
            more: false,
            entries: [],
            time,
          };
        });
      }
      default:
        return [];
    }
  };
  const answer = () => {
    for (let message = queue.shift(); message; message = queue.shift()) {
      for (const one of answersTo(message)) twin.onMessage(one);
    }
  };
  twin.onConnected();
  answer();
  for (let second = 0; second < 60; second++) {
    nowMs += 1_000;
    twin.tick();
    answer();
  }
  return ups;
}

const nameOf = ({ model, op, item, key }: Change) => {
  const { id, name } = (item ?? key)!;
  return `${op} ${model} ${model === "Sample" && op === "create" ? "" : name ?? id}`.trim();
};

Deno.test("golden: an outbox entry's kind is the number that it always was", async () => {
  using folder = new TempDir();
  const store = openStore({ path: folder.file("d.db"), schema, identity, now: () => 1_700_000_000_000 });
  try {
    store.db.exec("INSERT INTO Note(name, text) VALUES ('a', 'made')");
    store.db.exec("UPDATE Note SET text = 'altered'");
    store.db.exec("DELETE FROM Note");
    await frozen("an inserted, an altered and a removed row are captured as others", () => {
      const kinds = store.db.prepare("SELECT kind FROM _outbox ORDER BY seq").all().map(({ kind }) => Number(kind));
      assert.deepEqual(kinds, [1, 2, 3]);
    });
  } finally {
    store.close();
  }
});

for (const release of releases) {
  const expected = golden<Expected>(release, "expected.json");

  Deno.test(`golden ${release}: a device's database opens and is upgraded in place, with all that it held`, async () => {
    using folder = new TempDir();
    const path = unpack(release, "device.db.gz", folder.file("d.db"));
    for (let time = 0; time < 2; time++) {
      const store = openStore({ path, schema, identity, now: () => expected.endedMs });
      try {
        const models = [...schema.models.values()].filter((model) => model.onDevice).map(({ name }) => name);
        for (const table of [...models, ...kept]) {
          const rows = expected.device[table]!;
          await frozen(`after opening a released database its table ${table} is another one`, () => {
            if (rows.length === 0) return;
            assert.deepEqual(rowsOf(store, table, Object.keys(rows[0]!)), rows);
          });
        }
        assert.equal(store.db.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
      } finally {
        store.close();
      }
    }
  });

  Deno.test(`golden ${release}: what waited in a device's database is sent, and what was in flight again`, async () => {
    using folder = new TempDir();
    const path = unpack(release, "device.db.gz", folder.file("d.db"));
    const store = openStore({ path, schema, identity, now: () => expected.endedMs });
    try {
      const inFlight = JSON.parse(String(expected.device._inflight![0]!.payload)) as { readonly changes?: unknown };
      const ups = sentBy(store, expected.endedMs + 60_000), changes = ups.flatMap((up) => up.changes);
      await frozen("changes that a released agent left in its outbox are sent as others, or not at all", () => {
        assert.deepEqual([...new Set(changes.map(nameOf))].sort(), [
          "create Note in flight",
          "create Note in flight too",
          "create Note renamed",
          "create Note waits",
          "create Sample",
          "remove Note cloud-5",
          "remove Note cloud-6",
          "update Member ada",
          "update Note cloud-4",
          "update Note cloud-7",
          "update Rule cap",
        ]);
        const found = (name: string) => changes.find((change) => nameOf(change) === name)!;
        assert.equal(found("update Note cloud-4").item!.text, "an update that waits");
        assert.equal(found("update Note cloud-7").item!.text, "replaced");
        assert.deepEqual(found("update Rule cap").base?.item?.limit, 9, "made from what the cloud had");
        assert.equal(found("create Sample").item!.value, 99);
        assert.equal("secret" in found("create Note waits").item!, false, "what never leaves the device");
      });
      await frozen("a batch that was in flight is not sent again under its id", () => {
        const batch = String(expected.device._inflight![0]!.batch), again = ups.find((up) => up.batch === batch);
        assert.ok(again, "it is sent");
        const stored = JSON.stringify(inFlight);
        for (const { stamp } of again.changes) assert.ok(stored.includes(String(stamp)), "with the stamps it had");
      });
      assert.equal(
        Number(store.db.prepare("SELECT count(*) AS n FROM _outbox").get()!.n),
        0,
        "and all is acknowledged",
      );
    } finally {
      store.close();
    }
  });

  Deno.test(`golden ${release}: an embedded table opens with its items, devices and log, and passes on what waited`, async () => {
    using folder = new TempDir();
    const file = unpack(release, "cloud.db.gz", folder.file("cloud.db"));
    const now = () => expected.endedMs + 1_000;
    const tables = openEmbedded(file, { schema, now });
    const sent: FromCloud[] = [];
    const publisher: Publisher = { publish: (_to, message) => (sent.push(message), Promise.resolve()) };
    const service = new CloudService({ schema, tables, publisher, now, random: Math.random });
    try {
      await frozen("an item of a released table is read as another one", async () => {
        const rows = expected.cloud.items!;
        const items = await tables.data.get(rows.map(({ hash, sort }) => [String(hash), String(sort)] as const));
        rows.forEach(({ item, hash, sort }, i) => {
          if (typeof item !== "string") return assert.ok(items[i], `${hash} ${sort}`);
          assert.deepEqual(items[i], JSON.parse(item));
        });
      });
      await frozen("a device that was registered can't log in any more", async () => {
        for (const [deviceId, token] of Object.entries(expected.tokens)) {
          assert.deepEqual(await service.registry.authenticate(deviceId, token), {
            deviceId,
            accountId: goldenAccount,
          });
        }
      });
      await frozen("changes of the table that were not passed on are lost", async () => {
        const abort = new AbortController();
        const stream = tables.data.stream().batches(abort.signal)[Symbol.asyncIterator]();
        const { records } = (await stream.next()).value as StreamBatch;
        abort.abort();
        await stream.return?.();
        assert.deepEqual(records.map(({ key, new: fresh }) => [key[1], fresh?.text]), [
          ["note#cloud-8", "by the shell"],
          ["note#cloud-9", undefined],
        ]);
        assert.deepEqual(await service.fanOutParts(records, AbortSignal.timeout(10_000)), []);
      });
      await frozen("a released cursor is not answered with what follows it", async () => {
        const channel = `device:${identity.deviceId}`;
        const cursor = expected.device._sync_channels!.find((row) => row.channel === channel)!;
        sent.length = 0;
        await service.receive(identity.deviceId, {
          type: "sync",
          request: "abcdefghijkl/1",
          channels: [{ channel, epoch: String(cursor.epoch), seq: Number(cursor.seq) }],
        });
        await until("it is answered", () => sent.length > 0);
        const page = sent[0] as Page;
        assert.deepEqual([page.type, page.epoch, page.from], ["page", cursor.epoch, cursor.seq]);
        const texts = page.entries.map(({ key, current }) => `${key[1]} ${current?.item.text}`);
        assert.ok(texts.includes("note#cloud-8 by the shell") && texts.includes("note#cloud-9 undefined"), `${texts}`);
      });
    } finally {
      await tables.close();
    }
  });
}
