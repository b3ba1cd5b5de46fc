import assert from "node:assert/strict";
import { ChannelLog } from "../../../cloud/sync/channel_log.ts";
import { Lru } from "../../../cloud/sync/lru.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { compareText, evaluate } from "../../../cloud/table/condition.ts";
import type { Table, WriteResult } from "../../../cloud/table/port.ts";
import type { Item } from "../../../schema/values.ts";
import { long } from "../../support/long.ts";

Deno.test("lru: what was used last stays, within entries and bytes, and who leaves is told", () => {
  const left: string[] = [];
  const lru = new Lru<string, number>({
    entriesMax: 3,
    bytesMax: 950,
    sizeOf: (_, n) => n,
    left: (key) => left.push(key),
  });
  for (const key of ["a", "b", "c"]) lru.set(key, 1);
  assert.equal(lru.get("a"), 1);
  lru.set("d", 1);
  assert.deepEqual(left, ["b"]);
  lru.set("e", 800);
  assert.deepEqual([lru.size, left], [2, ["b", "c", "a"]], "one that is large sends others away");
  lru.set("f", 5000);
  assert.deepEqual([lru.size, lru.get("f")], [1, 5000], "one that is too large is alone");
  assert.ok(lru.delete("f"));
  assert.deepEqual([lru.size, lru.bytes], [0, 0]);
});

/** A table that counts what it is asked. */
class Counted implements Table {
  requests = { get: 0, write: 0, query: 0 };
  readonly #rows = new Map<string, Map<string, Item>>();

  get(keys: Parameters<Table["get"]>[0]) {
    this.requests.get++;
    return Promise.resolve(keys.map(([hash, sort]) => this.#rows.get(hash)?.get(sort)));
  }

  write(writes: Parameters<Table["write"]>[0]) {
    return Promise.resolve(writes.map((write): WriteResult => {
      this.requests.write++;
      const [hash, sort] = write.op === "put" ? [String(write.item.hash), String(write.item.sort)] : write.key;
      const rows = this.#rows.get(hash) ?? new Map<string, Item>(), old = rows.get(sort);
      if (write.condition && !evaluate(write.condition, old)) return { outcome: "refused", current: old };
      this.#rows.set(hash, rows);
      if (write.op === "put") rows.set(sort, write.item);
      else rows.delete(sort);
      return { outcome: "written", old };
    }));
  }

  query({ hash, reverse, limit }: Parameters<Table["query"]>[0]) {
    this.requests.query++;
    const items = [...this.#rows.get(hash)?.values() ?? []].sort((a, b) =>
      compareText(String(a.sort), String(b.sort)) * (reverse ? -1 : 1)
    );
    return Promise.resolve({ items: items.slice(0, limit) });
  }

  scan() {
    return Promise.resolve({ items: [] });
  }

  close() {
    return Promise.resolve();
  }
}

/** Requests a message, where each of so many devices sends one a second, ten seconds long, after the first. */
async function costs(devices: number): Promise<{ registry: number; log: number; presence: number }> {
  let time = 1_800_000_000_000;
  const now = () => time;
  const tables = { registry: new Counted(), presence: new Counted(), log: new Counted() };
  const registry = new Registry(tables.registry, { now });
  const presence = new Registry(tables.presence, { now });
  const log = new ChannelLog(tables.log, { now, random: Math.random });
  const names = Array.from({ length: devices }, (_, i) => `device-${i}`);
  for (const name of names) {
    await registry.add(name, "acme");
    await registry.identityOf(name);
    await presence.touch(name);
    await log.append(`device:${name}`, []);
  }
  for (const table of Object.values(tables)) table.requests = { get: 0, write: 0, query: 0 };
  const seconds = 10;
  for (let second = 0; second < seconds; second++) {
    time += 1000;
    for (const name of names) {
      await registry.identityOf(name);
      await presence.touch(name);
      await log.append(`device:${name}`, []);
    }
  }
  const each = ({ requests: { get, write, query } }: Counted) => (get + write + query) / (devices * seconds);
  return { registry: each(tables.registry), log: each(tables.log), presence: each(tables.presence) };
}

/** Ten thousand are remembered. */
const most = long ? 50_000 : 20_000;

Deno.test(`caches: a message costs the same with 9,900, 10,100 and ${most} devices`, async () => {
  const few = await costs(9_900);
  for (const devices of [10_100, most]) {
    const many = await costs(devices);
    for (const part of ["registry", "log", "presence"] as const) {
      assert.ok(many[part] <= few[part] * 1.1, `${part}: ${few[part]} and, with ${devices}, ${many[part]} a message`);
    }
  }
  assert.ok(few.registry < 0.11 && few.log < 1.11 && few.presence === 0, JSON.stringify(few));
});
