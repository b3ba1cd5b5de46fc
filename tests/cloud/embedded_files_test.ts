/** The embedded table's files are their owner's, and one table by whatever name. */
import assert from "node:assert/strict";
import { openEmbedded } from "../../cloud/embedded.ts";
import { Fixture, schema } from "./fixture.ts";

const options = { schema, now: Date.now };
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
