/** The embedded table's files are their owner's, and one table by whatever name. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { ServedContent } from "../../cloud/embedded/content.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { until } from "../support/until.ts";
import { testWith } from "../support/tools.ts";
import { Fixture, schema } from "./fixture.ts";

const options = { schema, now: Date.now };
function shell(path: string, command: string): void {
  const { code, stderr } = new Deno.Command("sqlite3", { args: [path, command] }).outputSync();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

const modes = async (dir: string) => {
  const found: Record<string, string> = {};
  for await (const { name } of Deno.readDir(dir)) {
    found[name] = ((await Deno.stat(`${dir}/${name}`)).mode! & 0o777).toString(8);
  }
  return found;
};

Deno.test("embedded files: database, WAL, index and lock are the owner's alone", async () => {
  const dir = await Deno.makeTempDir();
  await Deno.mkdir(`${dir}/new`);
  const tables = openEmbedded(`${dir}/new/cloud.db`, options);
  await tables.log.write([{ op: "put", item: { hash: "devices", sort: "d1", account: "acme", token: "00" } }]);
  const found = await modes(`${dir}/new`);
  for (const name of ["cloud.db", "cloud.db-lock", "cloud.db-shm", "cloud.db-wal"]) assert.ok(name in found, name);
  assert.deepEqual([...new Set(Object.values(found))], ["600"]);
  await tables.close();
  // Of a build before: everybody could read it.
  await Deno.chmod(`${dir}/new/cloud.db`, 0o644);
  await openEmbedded(`${dir}/new/cloud.db`, options).close();
  assert.equal((await Deno.stat(`${dir}/new/cloud.db`)).mode! & 0o007, 0);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("embedded files: through a link it is the same table, locked as one, and made as privately", async () => {
  const dir = await Deno.makeTempDir();
  await Deno.mkdir(`${dir}/real`);
  await Deno.symlink(`${dir}/real/cloud.db`, `${dir}/link.db`);
  await Deno.symlink(`${dir}/real`, `${dir}/folder`);
  const tables = openEmbedded(`${dir}/link.db`, options);
  assert.deepEqual([...new Set(Object.values(await modes(`${dir}/real`)))], ["600"]);
  for (const name of ["link.db", "real/cloud.db", "folder/cloud.db"]) {
    assert.throws(() => openEmbedded(`${dir}/${name}`, options), { code: "in-use" });
  }
  await tables.close();
  await openEmbedded(`${dir}/folder/cloud.db`, options).close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("embedded files: a table with a second name by a hard link is not served, by either name", async () => {
  const dir = await Deno.makeTempDir();
  await openEmbedded(`${dir}/cloud.db`, options).close();
  await Deno.link(`${dir}/cloud.db`, `${dir}/hard.db`);
  for (const name of ["cloud.db", "hard.db"]) {
    assert.throws(() => openEmbedded(`${dir}/${name}`, options), { code: "in-use", message: /has 2 names/ });
  }
  await Deno.remove(`${dir}/hard.db`);
  await openEmbedded(`${dir}/cloud.db`, options).close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("embedded files: a copy that is written over the file (cp) is served no more, and stays as it is", async () => {
  const dir = await Deno.makeTempDir(), path = `${dir}/cloud.db`;
  const put = (sort: string) => [{ op: "put", item: { hash: "h", sort } }] as const;
  let tables = openEmbedded(path, options);
  const list = async () => (await tables.log.query({ index: "primary", hash: "h", limit: 999 })).items;
  await tables.log.write(put("before"));
  await tables.close();
  await Deno.copyFile(path, `${dir}/copy.db`);
  tables = openEmbedded(path, options);
  for (let i = 0; i < 50; i++) await tables.log.write(put(`after ${i}`));
  assert.equal((await list()).length, 51);
  await Deno.copyFile(`${dir}/copy.db`, path);
  // Reads come first: what a mixture lacks would be removed from devices.
  await until("reads are refused", () => list().then(() => false, () => true));
  await assert.rejects(list, { code: "unavailable", message: /was replaced while it was served/ });
  await assert.rejects(async () => await tables.log.write(put("later")), { code: "unavailable" });
  assert.match((await tables.lost!).message, /content of the table .* was replaced/);
  await tables.close();
  assert.deepEqual(await Deno.readFile(path), await Deno.readFile(`${dir}/copy.db`), "nothing got into the copy");
  tables = openEmbedded(path, options);
  assert.deepEqual((await list()).map(({ sort }) => sort), ["before"]);
  await tables.close();
  await Deno.remove(dir, { recursive: true });
});

Deno.test("embedded files: a copy of this run is noticed as well, and checkpoints of whomever are none", async () => {
  const dir = await Deno.makeTempDir(), path = `${dir}/cloud.db`;
  await openEmbedded(path, options).close();
  const db = new DatabaseSync(path), other = new DatabaseSync(path);
  let now = 0;
  const content = new ServedContent(db, path, () => now);
  const commit = () => {
    db.exec(`BEGIN; INSERT INTO log(hash, sort, item) VALUES ('h', '${crypto.randomUUID()}', '{}')`);
    const renewed = content.renew();
    db.exec("COMMIT");
    renewed();
  };
  for (let i = 0; i < 30; i++) {
    now += 3_000;
    // A reader keeps the checkpoint of a new text away; later ones make up for it.
    if (i % 7 === 0) other.exec("BEGIN; SELECT count(*) FROM log");
    commit();
    if (i % 7 === 5) other.exec("COMMIT");
    if (i % 3 === 0) (other.isTransaction ? db : other).exec("PRAGMA wal_checkpoint(PASSIVE)");
    assert.equal(content.state, "served", String(i));
  }
  if (other.isTransaction) other.exec("COMMIT");
  db.exec(`VACUUM INTO '${dir}/copy.db'`);
  for (let i = 0; i < 5; i++) {
    now += 5_000;
    commit();
  }
  assert.equal(content.state, "served");
  await Deno.copyFile(`${dir}/copy.db`, path);
  await until("it is noticed", () => content.state === "replaced");
  content.giveUp();
  other.close();
  db.close();
  await Deno.remove(dir, { recursive: true });
});

for (const how of ["by SQLite", "of an older build, by SQLite", "that is a moment old, by SQLite"]) {
  testWith("sqlite3")(
    `embedded files: content that is replaced under the process (${how}) is served no more`,
    async () => {
      const dir = await Deno.makeTempDir(), path = `${dir}/cloud.db`;
      const put = (sort: string) => [{ op: "put", item: { hash: "h", sort } }] as const;
      let tables = openEmbedded(path, options);
      await tables.log.write(put("before"));
      await tables.close();
      await Deno.copyFile(path, `${dir}/copy.db`);
      if (how.includes("older")) shell(`${dir}/copy.db`, "DROP TABLE served");
      tables = openEmbedded(path, options);
      if (how.includes("moment")) shell(path, `.backup ${dir}/copy.db`);
      await tables.log.write(put("after"));
      const list = () => tables.log.query({ index: "primary", hash: "h", limit: 9 });
      assert.equal((await list()).items.length, 2);
      shell(path, `.restore ${dir}/copy.db`);
      await assert.rejects(async () => await list(), {
        code: "unavailable",
        message: /was replaced while it was served/,
      });
      await assert.rejects(async () => await tables.log.write(put("later")), { code: "unavailable" });
      assert.match((await tables.lost!).message, /content of the table .* was replaced/);
      await tables.close();
      // The next process serves the copy: what it means for devices, `cloud table restored` says.
      tables = openEmbedded(path, options);
      assert.deepEqual((await list()).items.map(({ sort }) => sort), ["before"]);
      await tables.close();
      await Deno.remove(dir, { recursive: true });
    },
  );
}

/** By another process: this one would drop SQLite's locks. */
function cp(from: string, to: string): void {
  assert.ok(new Deno.Command("cp", { args: [from, to] }).outputSync().success);
}

/** Ways to copy a table while it is served. */
const copies = {
  ".backup": (path: string, copy: string) => shell(path, `.backup ${copy}`),
  "VACUUM INTO": (path: string, copy: string) => shell(path, `VACUUM INTO '${copy}'`),
  ".dump": (path: string, copy: string) => {
    const { stdout } = new Deno.Command("sqlite3", { args: [path, ".dump"] }).outputSync();
    shell(copy, `PRAGMA application_id = 0x7474626c; PRAGMA user_version = 2; ${new TextDecoder().decode(stdout)}`);
  },
  cp,
};

testWith("sqlite3")(
  "embedded files: a copy that is a moment old is noticed past SQLite as well, and stays as it is",
  async () => {
    const dir = await Deno.makeTempDir(), path = `${dir}/cloud.db`, copy = `${dir}/copy.db`;
    const put = (sort: string) => [{ op: "put", item: { hash: "h", sort } }] as const;
    for (const [how, make] of Object.entries(copies)) {
      for (const isCheckpointed of [true, false]) {
        const what = `${how}, ${isCheckpointed ? "before" : "after"} the last checkpoint`;
        let tables = openEmbedded(path, options);
        const list = async () => (await tables.log.query({ index: "primary", hash: "h", limit: 99 })).items.length;
        await tables.log.write(put("1"));
        if (how === "cp") shell(path, "PRAGMA wal_checkpoint(PASSIVE)");
        make(path, copy);
        for (let i = 2; i < 10; i++) await tables.log.write(put(String(i)));
        if (isCheckpointed) {
          shell(path, "PRAGMA wal_checkpoint(PASSIVE)");
          await tables.log.write(put("10"));
        }
        cp(copy, path);
        const isNothingLost = how === "cp" && !isCheckpointed;
        if (isNothingLost) {
          // The file had these very bytes.
          assert.equal(await list(), 9, "the WAL has what the copy lacks");
          await tables.log.write(put("later"));
        } else await until(`${what}: it is refused`, () => list().then(() => false, () => true));
        await tables.close();
        if (!isNothingLost) assert.deepEqual(await Deno.readFile(path), await Deno.readFile(copy), what);
        tables = openEmbedded(path, options);
        assert.equal(await list(), isNothingLost ? 10 : 1, what);
        await tables.close();
        for (const end of ["", "-wal", "-shm", "-lock"]) await Deno.remove(path + end).catch(() => {});
        await Deno.remove(copy);
      }
    }
    await Deno.remove(dir, { recursive: true });
  },
);

Deno.test("embedded files: while somebody writes into the file nothing is read or written, and then it goes on or not", async () => {
  const dir = await Deno.makeTempDir(), path = `${dir}/cloud.db`;
  const tables = openEmbedded(path, options);
  const write = (sort: string) => tables.log.write([{ op: "put", item: { hash: "h", sort } }]);
  await write("1");
  const whole = await Deno.readFile(path);
  // The first pages of a copy are there: those of this table, because it is a copy of these bytes.
  await Deno.writeFile(path, whole.subarray(0, 4096));
  await assert.rejects(async () => await write("2"), { code: "unavailable", message: /somebody is writing into/ });
  const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await after(25);
  for (const keys of [[["h", "1"]], [["h", "1"], ["h", "9"]]] as const) {
    await assert.rejects(async () => await tables.log.get(keys), { code: "unavailable" });
  }
  await Deno.writeFile(path, whole);
  await write("3");
  assert.equal((await tables.log.get([["h", "1"]])).length, 1);
  // What is no table, and stays none.
  await Deno.writeTextFile(path, "no table");
  const refusal = (error: Error) => /was replaced while it was served/.test(error.message);
  await until("it is given up", () => write("4").then(() => assert.fail("it was written"), refusal));
  assert.match((await tables.lost).message, /was replaced while it was served/);
  await tables.close();
  assert.equal(await Deno.readTextFile(path), "no table");
  await Deno.remove(dir, { recursive: true });
});

Deno.test("registry: no device is named as a worker", async () => {
  await using fixture = new Fixture();
  const { Registry } = await import("../../cloud/sync/registry.ts");
  const registry = new Registry(fixture.tables.log, { now: fixture.now });
  for (const name of ["twintable-cloud", "Twintable-Cloud", "twintable-x"]) {
    await assert.rejects(registry.add(name, "acme"), RangeError);
  }
  await registry.add("twintable", "acme");
});

Deno.test("registry: who guesses names makes no work, and a device that is added meanwhile is let in", async () => {
  await using fixture = new Fixture();
  const { Registry } = await import("../../cloud/sync/registry.ts");
  let reads = 0;
  const { log: table } = fixture.tables;
  const log = {
    write: table.write.bind(table),
    get(keys: Parameters<typeof table.get>[0]) {
      reads++;
      return table.get(keys);
    },
  } as unknown as typeof table;
  const registry = new Registry(log, { now: fixture.now });
  for (let n = 0; n < 100; n++) assert.equal(await registry.authenticate("d1", `guess${n}`), undefined);
  assert.equal(reads, 1);
  const token = await registry.add("d1", "acme");
  assert.ok(await registry.authenticate("d1", token));
  // Added by another process.
  assert.equal(await registry.authenticate("d2", "x"), undefined);
  const elsewhere = await new Registry(fixture.tables.log, { now: fixture.now }).add("d2", "acme");
  fixture.time += 2_000;
  assert.ok(await registry.authenticate("d2", elsewhere));
});
