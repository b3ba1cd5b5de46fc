import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { equals } from "../../cloud/table/condition.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import type { StreamBatch, StreamRecord } from "../../cloud/table/port.ts";
import { SyncError } from "../../schema.ts";
import type { Item } from "../../schema/values.ts";
import { contractSchema as schema, itemOf, keyOf, tableContract } from "./table_contract.ts";

const now = () => Date.now();

tableContract("embedded in memory", () => {
  const tables = openEmbedded(":memory:", { schema, now });
  return Promise.resolve({ tables, dispose: () => tables.close() });
});

tableContract("embedded in a file", async () => {
  const folder = await Deno.makeTempDir();
  const tables = openEmbedded(join(folder, "cloud.db"), { schema, now });
  return {
    tables,
    async dispose() {
      await tables.close();
      await Deno.remove(folder, { recursive: true });
    },
  };
});

async function inFile(body: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(join(folder, "cloud.db"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The records of the first batches, until there are as many. */
async function records(data: ReturnType<typeof openEmbedded>["data"], count: number): Promise<StreamRecord[]> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), 10_000);
  const found: StreamRecord[] = [];
  for await (const batch of data.stream().batches(abort.signal)) {
    found.push(...(batch as StreamBatch).records);
    await (batch as StreamBatch).checkpoint();
    if (found.length >= count) break;
  }
  clearTimeout(timer);
  assert.equal(found.length, count);
  return found;
}

Deno.test("embedded: a second process, or a second opening, is refused in one clear line; the next one is let in", () =>
  inFile(async (path) => {
    const first = openEmbedded(path, { schema, now });
    assert.throws(() => openEmbedded(path, { schema, now }), (error: unknown) => {
      assert.ok(error instanceof SyncError);
      assert.equal(error.code, "in-use");
      return true;
    });
    const shared = openEmbedded(path, { schema, now, shared: true });
    await shared.log.write([{ op: "put", item: { hash: "devices", sort: "d1" } }]);
    assert.equal((await first.log.get([["devices", "d1"]]))[0]?.sort, "d1");
    await shared.close();
    await first.close();
    const second = openEmbedded(path, { schema, now });
    assert.equal((await second.log.get([["devices", "d1"]]))[0]?.sort, "d1");
    await second.close();
  }));

for (const what of ["deleted", "replaced"] as const) {
  Deno.test(`embedded: a file that is ${what} while it is served takes no write any more, and says so`, () =>
    inFile(async (path) => {
      const tables = openEmbedded(path, { schema, now });
      const put = (sort: string) => tables.log.write([{ op: "put", item: { hash: "devices", sort } }]);
      await put("d1");
      if (what === "replaced") Deno.copyFileSync(path, `${path}.copy`);
      Deno.removeSync(path);
      if (what === "replaced") Deno.renameSync(`${path}.copy`, path);
      await assert.rejects(put("d2"), /was deleted or replaced while it was served/);
      assert.match((await tables.lost).message, /was deleted or replaced while it was served/);
      await assert.rejects(tables.log.get([["devices", "d1"]]), { code: "unavailable" });
      await tables.close();
    }));
}

Deno.test("embedded: a lock file that was removed is made again, and lets no second process in", () =>
  inFile(async (path) => {
    const first = openEmbedded(path, { schema, now });
    const put = (sort: string) => first.log.write([{ op: "put", item: { hash: "devices", sort } }]);
    Deno.removeSync(`${path}-lock`);
    await put("d1");
    assert.throws(() => openEmbedded(path, { schema, now }), { code: "in-use" });
    await put("d2");
    // Who was faster than a look has it: the first one ends before it writes again.
    Deno.removeSync(`${path}-lock`);
    const second = openEmbedded(path, { schema, now });
    await assert.rejects(put("d3"), /is served by another process: its lock file was removed/);
    assert.match((await first.lost).message, /its lock file was removed/);
    await first.close();
    assert.equal((await second.log.get([["devices", "d2"]]))[0]?.sort, "d2");
    assert.equal((await second.log.get([["devices", "d3"]]))[0], undefined);
    await second.close();
  }));

Deno.test("embedded: writes by plain SQL of another connection reach the stream, a REPLACE with its old image", () =>
  inFile(async (path) => {
    const tables = openEmbedded(path, { schema, now });
    const reading = records(tables.data, 5);
    const shell = new DatabaseSync(path);
    shell.exec("PRAGMA busy_timeout = 5000");
    const put = (verb: string, v: number) =>
      shell.prepare(`${verb} INTO items(hash, sort, item) VALUES (?, ?, ?)`)
        .run(...keyOf("a"), JSON.stringify(itemOf("a", { v })));
    put("INSERT", 1);
    put("INSERT OR REPLACE", 2);
    put("INSERT OR IGNORE", 3);
    shell.exec("UPDATE items SET item = json_set(item, '$.v', 4)");
    shell.exec("DELETE FROM items");
    put("INSERT", 5);
    shell.close();
    const found = await reading;
    assert.deepEqual(found.map((record) => [record.old?.v, record.new?.v]), [
      [undefined, 1],
      [1, 2],
      [2, 4],
      [4, undefined],
      [undefined, 5],
    ]);
    await tables.close();
  }));

/** What stands in `changes`, of the keys that begin so. */
function recorded(path: string, prefix: string): unknown[] {
  const shell = new DatabaseSync(path);
  const rows = shell.prepare(
    "SELECT sort, old ->> '$._type' AS old, new ->> '$._type' AS new FROM changes WHERE sort GLOB ? ORDER BY seq",
  ).all(`${prefix}*`);
  shell.close();
  return rows.map((row) => [row.sort, row.old, row.new]);
}

Deno.test("embedded: of unwanted types nothing is recorded, from the reader's start to the next opening", () =>
  inFile(async (path) => {
    const reading = (id: string, type = "Reading"): Item => ({ ...itemOf(id, {}), sk: `r#${id}`, _type: type });
    let tables = openEmbedded(path, { schema, now });
    const put = (...items: Item[]) => tables.data.write(items.map((item) => ({ op: "put", item })));
    await put(reading("before"));
    assert.equal(recorded(path, "r#").length, 1);
    const abort = new AbortController();
    const batches = tables.data.stream({ unwanted: ["Reading"] }).batches(abort.signal)[Symbol.asyncIterator]();
    const first = batches.next();
    await put(itemOf("go", {}));
    assert.deepEqual(((await first).value as StreamBatch).records.map(({ key }) => key), [keyOf("go")]);
    assert.deepEqual(recorded(path, "r#"), [], "also what came before");

    await put(reading("1"), reading("2"), reading("3"), { ...reading("4"), _type: 5 });
    await put(reading("1"), reading("2", "Thing"), reading("2"));
    await tables.data.write([{ op: "delete", key: ["device#d1", "r#1"] }]);
    const shell = new DatabaseSync(path);
    shell.exec("PRAGMA busy_timeout = 5000; UPDATE items SET sort = 'r#5' WHERE sort = 'r#3'");
    shell.exec("UPDATE items SET sort = 'r#6', item = json_set(item, '$._type', 'Thing') WHERE sort = 'r#5'");
    shell.exec(`INSERT OR REPLACE INTO items(hash, sort, item) SELECT hash, sort, json_set(item, '$._type', 'Reading')
      FROM items WHERE sort = 'r#6'`);
    shell.close();
    assert.deepEqual(recorded(path, "r#"), [
      ["r#4", null, 5],
      ["r#2", "Reading", "Thing"],
      ["r#2", "Thing", "Reading"],
      ["r#6", null, "Thing"],
      ["r#6", "Thing", "Reading"],
    ]);
    abort.abort();
    await tables.close();

    // Nobody reads yet, and who will has not said what it has no use for.
    tables = openEmbedded(path, { schema, now });
    await put(reading("7"));
    assert.deepEqual(recorded(path, "r#7"), [["r#7", null, "Reading"]]);
    await tables.close();
  }));

Deno.test("embedded: a file of the first layout, without a table of unwanted types, is taken over", () =>
  inFile(async (path) => {
    const before = openEmbedded(path, { schema, now });
    await before.data.write([{ op: "put", item: itemOf("a", { v: 1 }) }]);
    await before.close();
    const shell = new DatabaseSync(path);
    for (const name of ["items_update", "items_rekey", "items_delete"]) shell.exec(`DROP TRIGGER ${name}`);
    shell.exec(`
      DROP TRIGGER items_insert; DROP TABLE unwanted; PRAGMA user_version = 1;
      CREATE TRIGGER items_insert AFTER INSERT ON items BEGIN
        INSERT INTO changes(hash, sort, old, new) VALUES (new.hash, new.sort, NULL, new.item);
      END`);
    shell.close();
    const tables = openEmbedded(path, { schema, now });
    const reading = records(tables.data, 3);
    await tables.data.write([{ op: "put", item: itemOf("a", { v: 2 }) }, { op: "put", item: itemOf("b", { v: 3 }) }]);
    assert.deepEqual((await reading).map((record) => [record.old?.v, record.new?.v]), [
      [undefined, 1],
      [1, 2],
      [undefined, 3],
    ]);
    await tables.close();
  }));

Deno.test("embedded: a write that finds an item where it expected none leaves no image for a later one", () =>
  inFile(async (path) => {
    const tables = openEmbedded(path, { schema, now });
    const reading = records(tables.data, 6);
    const put = (id: string, v: number) => tables.data.write([{ op: "put", item: itemOf(id, { v }) }]);
    await put("a", 1);
    assert.equal((await put("b", 2))[0]!.outcome, "written");
    // Items were new, so that this one is taken for new, too.
    assert.deepEqual(await put("a", 3), [{ outcome: "written", old: itemOf("a", { v: 1 }) }]);
    const shell = new DatabaseSync(path);
    shell.exec("PRAGMA busy_timeout = 5000; UPDATE items SET sort = 'thing#c' WHERE sort = 'thing#a'");
    shell.prepare("INSERT INTO items(hash, sort, item) VALUES (?, ?, ?)").run(
      ...keyOf("a"),
      JSON.stringify(itemOf("a", { v: 4 })),
    );
    shell.close();
    assert.deepEqual((await reading).filter(({ new: fresh }) => fresh?.v === 4).map(({ old }) => old), [undefined]);
    await tables.close();
  }));

Deno.test("embedded: what SQL wrote and nobody can read does not stop the stream", async () => {
  await inFile(async (path) => {
    const tables = openEmbedded(path, { schema, now });
    const shell = new DatabaseSync(path);
    for (const [sort, text] of [["a", "[]"], ["b", "null"], ["c", "1e9999999"], ["d", "{}"]]) {
      shell.prepare("INSERT INTO items(hash, sort, item) VALUES ('h', ?, ?)").run(sort!, text!);
    }
    shell.close();
    await tables.data.write([{ op: "put", item: itemOf("e", {}) }]);
    const found = await records(tables.data, 5);
    const bare = (sort: string) => ({ pk: "h", sk: sort });
    assert.deepEqual(found.map((record) => record.new), [...["a", "b", "c", "d"].map(bare), itemOf("e", {})]);
    const page = await tables.data.query({ index: "primary", hash: "h", limit: 10 });
    assert.deepEqual(page.items, ["a", "b", "c", "d"].map(bare), "nor a listing, nor what is fetched");
    assert.deepEqual(await tables.data.get([["h", "c"], ["h", "d"]]), [bare("c"), bare("d")]);
    const put = {
      op: "put" as const,
      item: { ...itemOf("x", {}), pk: "h", sk: "c" },
      condition: { kind: "absent" as const },
    };
    assert.deepEqual(await tables.data.write([put]), [{ outcome: "refused", current: bare("c") }]);
    await tables.close();
  });
});

Deno.test("embedded: an item that SQL wrote means what it says: maps that are no tags, any name, the row's key", async () => {
  await inFile(async (path) => {
    const tables = openEmbedded(path, { schema, now });
    const shell = new DatabaseSync(path);
    const wrote =
      '{"pk":"other","_type":"Thing","a":{"$ref":1},"b":[{"$b":"?"},{"$n":"5"}],"__proto__":{"__proto__":{"a":1}}}';
    shell.prepare("INSERT INTO items(hash, sort, item) VALUES (?, ?, ?)").run("h\0ash", "s\0ort", wrote);
    shell.close();
    const item = JSON.parse(
      '{"pk":"h\\u0000ash","_type":"Thing","a":{"$m":{"$ref":1}},"b":[{"$m":{"$b":"?"}},{"$n":"5"}],' +
        '"__proto__":{"__proto__":{"a":1}},"sk":"s\\u0000ort"}',
    );
    const key = ["h\0ash", "s\0ort"] as const;
    assert.deepEqual(await records(tables.data, 1), [{ id: "1", key, new: item }]);
    assert.deepEqual(await tables.data.get([key]), [item]);
    assert.deepEqual((await tables.data.query({ index: "primary", hash: key[0], limit: 5 })).items, [item]);
    assert.deepEqual((await tables.data.scan({ limit: 5 })).items, [item]);
    await tables.close();
  });
});

Deno.test("embedded: what is committed is there after the process forgot to close", () =>
  inFile(async (path) => {
    const code = `
      import { openEmbedded } from ${JSON.stringify(new URL("../../cloud/embedded.ts", import.meta.url).href)};
      import { contractSchema as schema, itemOf } from ${
      JSON.stringify(new URL("./table_contract.ts", import.meta.url).href)
    };
      const { data } = openEmbedded(${JSON.stringify(path)}, { schema, now: () => Date.now() });
      for (let v = 0;; v++) {
        await Promise.all(["a", "b", "c"].map((id) => data.write([{ op: "put", item: itemOf(id, { v }) }])));
        console.log(v);
      }`;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--config", config, "-"],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(code));
    await writer.close();
    let text = "";
    for await (const chunk of child.stdout) {
      text += new TextDecoder().decode(chunk);
      if (text.split("\n").length > 30) break;
    }
    child.kill("SIGKILL");
    await child.status;
    const acknowledged = Number(text.trim().split("\n").at(-2));
    const tables = openEmbedded(path, { schema, now });
    for (const item of await tables.data.get(["a", "b", "c"].map((id) => keyOf(id)))) {
      assert.ok(Number(item?.v) >= acknowledged, `${item?.v} < ${acknowledged}`);
    }
    await tables.close();
  }));

Deno.test("embedded: the sweep deletes what has expired, with a removal in the stream, and nothing else", async () => {
  let time = 1_000_000_000_000;
  const tables = openEmbedded(":memory:", { schema, now: () => time });
  const seconds = time / 1000;
  await tables.data.write([
    { op: "put", item: itemOf("gone", { expires: seconds + 10 }) },
    { op: "put", item: itemOf("later", { expires: seconds + 1000 }) },
    { op: "put", item: itemOf("text", { expires: "2001-01-01T00:00:00.000Z" }) },
    { op: "put", item: itemOf("never", {}) },
  ]);
  await tables.log.write([
    { op: "put", item: { hash: "log#x", sort: "1", expires: seconds + 10 } },
    { op: "put", item: { hash: "log#x", sort: "2", expires: seconds + 1000 } },
    { op: "put", item: { hash: "floor#x", sort: "floor" } },
  ]);
  assert.equal(await tables.sweepExpired(), 0);
  time += 60_000;
  assert.equal(await tables.sweepExpired(), 2);
  const left = await tables.data.get(["gone", "later", "text", "never"].map((id) => keyOf(id)));
  assert.deepEqual(left.map((item) => item?.id), [undefined, "later", "text", "never"]);
  const log = await tables.log.query({ index: "primary", hash: "log#x", limit: 10 });
  assert.deepEqual(log.items.map(({ sort }) => sort), ["2"]);
  const removal = (await records(tables.data, 5)).at(-1);
  assert.deepEqual([removal?.key, removal?.old?.id, removal?.new], [keyOf("gone"), "gone", undefined]);
  await tables.close();
});

Deno.test("embedded: what is no database, another kind of database, or a newer one is refused by its own code", () =>
  inFile(async (path) => {
    const refused = (code: string) =>
      assert.throws(() => openEmbedded(path, { schema, now }), (error: unknown) => {
        assert.ok(error instanceof SyncError, String(error));
        assert.equal(error.code, code);
        return true;
      });
    await Deno.writeTextFile(
      path,
      "this is a text, and a long one, so that SQLite has a header to look at: ".repeat(20),
    );
    refused("not-a-table");
    await Deno.remove(path);
    const other = new DatabaseSync(path);
    other.exec("CREATE TABLE t(x)");
    other.close();
    refused("not-a-table");
    await Deno.remove(path);
    await openEmbedded(path, { schema, now }).close();
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    refused("newer");
    assert.throws(() => openEmbedded(join(path, "none", "x.db"), { schema, now }), { code: "unavailable" });
  }));

Deno.test("embedded: a full disk fails the write as unavailable, changes nothing, and passes", () =>
  inFile(async (path) => {
    const tables = openEmbedded(path, { schema, now });
    await tables.data.write([{ op: "put", item: itemOf("a", { v: 1 }) }]);
    await tables.close();
    const full = openEmbedded(path, { schema, now, pagesMax: 40 });
    const big = "x".repeat(200_000);
    await assert.rejects(full.data.write([{ op: "put", item: itemOf("a", { v: big }) }]), {
      code: "unavailable",
      retryable: true,
    });
    const [large, small] = await Promise.allSettled([
      full.data.write([{ op: "put", item: itemOf("b", { v: big }) }]),
      full.data.write([{ op: "put", item: itemOf("a", { v: 2 }), condition: equals("v", 1) }]),
    ]);
    assert.equal(large.status, "rejected", "what does not fit fails alone");
    assert.equal(small.status, "fulfilled");
    assert.deepEqual((await full.data.get([keyOf("a"), keyOf("b")])).map((item) => item?.v), [2, undefined]);
    await full.close();
  }));

Deno.test("embedded: a query uses its index, and expiry its own", () => {
  return inFile(async (path) => {
    await openEmbedded(path, { schema, now }).close();
    const db = new DatabaseSync(path);
    const plan = (sql: string) => db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all().map(({ detail }) => detail).join("\n");
    const by = (attribute: string) => `json_extract(item, '$."${attribute}"')`;
    const listed = plan(
      `SELECT item FROM items WHERE ${by("gs1pk")} = 'x' AND ${by("gs1pk")} IS NOT NULL AND ${
        by("gs1sk")
      } IS NOT NULL ` +
        `ORDER BY ${by("gs1sk")}, hash, sort LIMIT 10`,
    );
    assert.match(listed, /USING INDEX items_by_gs1/);
    assert.doesNotMatch(listed, /TEMP B-TREE/);
    assert.match(
      plan(
        `SELECT id FROM items WHERE ${by("expires")} IS NOT NULL AND ${by("expires")} > 0 AND ${by("expires")} <= 5`,
      ),
      /items_ttl_expires/,
    );
    db.close();
  });
});

Deno.test("embedded: the last page of a long list costs no more than its first, in either direction", async () => {
  const tables = openEmbedded(":memory:", { schema, now: Date.now });
  const many = 60_000;
  for (let at = 0; at < many; at += 1_000) {
    const items = Array.from(
      { length: 1_000 },
      (_, i) => ({ pk: "long", sk: `Plain#${String(at + i).padStart(6, "0")}` }),
    );
    await tables.data.write(items.map((item) => ({ op: "put" as const, item })));
  }
  for (const reverse of [false, true]) {
    const times: number[] = [];
    let after: string | undefined, count = 0;
    do {
      const start = performance.now();
      const page = await tables.data.query({
        index: "primary",
        hash: "long",
        sortPrefix: "Plain#",
        limit: 100,
        after,
        reverse,
      });
      times.push(performance.now() - start);
      count += page.items.length;
      after = page.next;
    } while (after !== undefined);
    assert.equal(count, many);
    const middle = (some: number[]) => some.sort((a, b) => a - b)[some.length >> 1]!;
    const first = middle(times.slice(5, 55)), last = middle(times.slice(-50));
    assert.ok(last < first * 4, `${last.toFixed(2)} ms after ${first.toFixed(2)} ms`);
  }
  await tables.close();
});

/** Overwrites a page of a file, as a failing disk does. */
function spoil(path: string, page: number): void {
  using file = Deno.openSync(path, { read: true, write: true });
  file.seekSync((page - 1) * 4096, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array(4096).fill(0x80));
}

Deno.test("embedded: a page that can't be read is no end of a list, and a damaged file is refused at the start", () =>
  inFile(async (path) => {
    const tables = openEmbedded(path, { schema, now });
    const items = Array.from({ length: 3000 }, (_, i) => itemOf(`s${String(i).padStart(5, "0")}`, { n: i }));
    for (let at = 0; at < items.length; at += 500) {
      await tables.data.write(items.slice(at, at + 500).map((item) => ({ op: "put", item })));
    }
    await tables.close();
    const db = new DatabaseSync(path);
    const pages = db.prepare("SELECT pageno FROM dbstat WHERE name = 'items' AND pagetype = 'leaf' ORDER BY pageno")
      .all();
    db.close();
    spoil(path, Number(pages[Math.floor(pages.length / 2)]!.pageno));
    assert.throws(() => openEmbedded(path, { schema, now }), (error: SyncError) => error.code === "corrupt");
    // A visitor does not look first: it meets the damage, and says so.
    const visitor = openEmbedded(path, { schema, now, shared: true });
    const all = async (read: (after?: string) => Promise<{ items: readonly Item[]; next?: string }>) => {
      let count = 0, after: string | undefined;
      do {
        const page = await read(after);
        count += page.items.length;
        after = page.next;
      } while (after !== undefined);
      return count;
    };
    const corrupt = (error: SyncError) => error.code === "corrupt";
    const [hash] = keyOf("any");
    await assert.rejects(all((after) => visitor.data.query({ index: "primary", hash, limit: 100, after })), corrupt);
    await assert.rejects(all((after) => visitor.data.scan({ limit: 1000, after })), corrupt);
    await assert.rejects(visitor.data.get(items.map(({ id }) => keyOf(String(id)))), corrupt);
    await visitor.close();
  }));
