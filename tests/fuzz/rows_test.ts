/**
 * A device's tables altered behind the schema, with values of every storage class in every column; and messages of every
 * shape from the cloud: the agent goes on, says what is wrong, and everything else travels.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Scripted } from "../agent/twin_fixture.ts";
import { fromCloud } from "../protocol/arbitraries.ts";
import { openDevice } from "../support/device.ts";
import { connect, count, query, type Row, shell } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { testWith } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { fuzzSeed, runs } from "./mutate.ts";

/** Takes away what guards a table: its types, its checks, that columns be filled. */
async function unguard(path: string, table: string): Promise<void> {
  const [{ sql }] = query(path, "SELECT sql FROM sqlite_schema WHERE name = ? AND type = 'table'", table) as [Row];
  const version = count(path, "PRAGMA schema_version");
  const loose = String(sql)
    .replace(/\)\s*STRICT\s*$/, ")")
    .replace(/^(\s*"(?!_id"|pk"|sk"|deviceId")\w+")\s[^\n]*?(,?)$/gm, "$1$2");
  assert.notEqual(loose, sql);
  await shell(
    path,
    `PRAGMA writable_schema = ON;
     UPDATE sqlite_schema SET sql = '${loose.replaceAll("'", "''")}' WHERE name = '${table}' AND type = 'table';
     PRAGMA schema_version = ${version + 1};`,
  );
}

const value = fc.oneof(
  fc.constant(null),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.string({ unit: "grapheme", maxLength: 20 }).map((text) => text.toWellFormed()),
  fc.constantFrom("", "1e5", "0x10", "2026-01-01", "\u0000", "{", '{"$n":"x"}', "d#x"),
  fc.uint8Array({ maxLength: 20 }),
);

testWith("sqlite3")(
  "fuzz: rows of every storage class in an unguarded table are sent or rejected by name, and hold up nothing",
  async () => {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    await using device = await openDevice(dir, cloud);
    device.exec("INSERT INTO Setting(name, value) VALUES ('first', 1)");
    await device.settle();
    await unguard(device.path, "Setting");
    let made = 0;
    {
      using db = connect(device.path);
      const columns = ["name", "value", "text", "slot", "created", "updated"];
      const insert = db.prepare(
        `INSERT INTO Setting(${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`,
      );
      fc.assert(
        fc.property(fc.array(value, { minLength: 6, maxLength: 6 }), (values) => {
          try {
            insert.run(...values);
            made++;
          } catch (error) {
            // Keys and unique fields are still unique; a blob in a key is none.
            assert.match(
              String(error),
              /UNIQUE|constraint|refused|malformed|datatype|JSON cannot hold/,
              `${error} (FUZZ_SEED=${fuzzSeed})`,
            );
          }
        }),
        runs(150),
      );
    }
    assert.ok(made > 20, `${made} rows could be made at all`);
    device.exec("INSERT INTO Setting(name, value) VALUES ('last', 1); INSERT INTO Board(name) VALUES ('other')");
    await device.agent.flush({ timeoutMs: 30_000 });
    const items = await cloud.items();
    assert.ok(items.some(({ name }) => name === "last") && items.some(({ name }) => name === "other"));
    const sent = items.length - 3, rejected = device.count("SELECT count(DISTINCT key) FROM _rejected");
    assert.ok(sent + rejected > made / 2, `${made} made, ${sent} sent, ${rejected} rejected (FUZZ_SEED=${fuzzSeed})`);
    const told = rejected > 0 ? /^\d+ changes? (was|were) refused/ : /^null$/;
    await until("it is told", () => told.test(String(device.query("SELECT problem FROM _status")[0]!.problem)));
    // What comes down still finds its row.
    await cloud.put("Setting", { name: "first", value: 2 }, { deviceId: "dev-1", accountId: "acme" });
    await until("it is here", () => device.count("SELECT value FROM Setting WHERE name = 'first'") === 2);
  },
);

Deno.test("fuzz: messages of any shape from the cloud leave an agent that goes on", () => {
  fc.assert(
    fc.property(fc.array(fromCloud, { maxLength: 12 }), (messages) => {
      using device = new Scripted();
      device.connect();
      device.sql("INSERT INTO Slot(name, slot) VALUES ('a', 's')");
      for (const message of messages) {
        const aimed = "channel" in message ? { ...message, channel: "device:dev-1" } : message;
        device.twin.onMessage(aimed as typeof message);
        device.answer();
      }
      device.twin.onDisconnected("cut");
      device.connect();
      device.pass(5_000);
      device.sql("INSERT INTO Slot(name, slot) VALUES ('b', 't')");
      device.pass(60_000);
      assert.deepEqual(device.faults, []);
      assert.ok([...device.table.keys()].some((key) => key.endsWith("slot#b")), `FUZZ_SEED=${fuzzSeed}`);
    }),
    runs(60),
  );
});
