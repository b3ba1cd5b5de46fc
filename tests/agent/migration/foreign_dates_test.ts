/**
 * Dates that nobody wrote as this schema's: a text without a zone and a number without a unit are read by the schema's rule, or
 * refused row by row; what says itself when it was is taken as it is.
 */
import assert from "node:assert/strict";
import { openDatabase } from "../../../agent/sqlite/driver.ts";
import { AmbiguousDate, foreignDateMs } from "../../../agent/migration/foreign_dates.ts";
import { resetDatabase } from "../../../agent/migration/reset.ts";
import { compileSchema, type Schema, SyncError } from "../../../schema.ts";
import { StoreFile } from "../store_fixture.ts";

const iso = (ms: number | undefined) => ms === undefined ? undefined : new Date(ms).toISOString();

Deno.test("foreign dates: a local time is the moment at which that place's clocks show it", () => {
  const cases: [zone: string, text: string, wanted: string][] = [
    ["UTC", "2026-07-01 12:00:00", "2026-07-01T12:00:00.000Z"],
    ["+05:30", "2026-07-01T12:00", "2026-07-01T06:30:00.000Z"],
    ["-03:00", "2026-07-01", "2026-07-01T03:00:00.000Z"],
    ["Europe/Berlin", "2026-07-01 12:00:00.250", "2026-07-01T10:00:00.250Z"],
    ["Europe/Berlin", "2026-01-01 12:00:00", "2026-01-01T11:00:00.000Z"],
    // Shown twice: the first. Skipped: by the offset before it, an hour later on the clocks.
    ["Europe/Berlin", "2026-10-25 02:30:00", "2026-10-25T00:30:00.000Z"],
    ["Europe/Berlin", "2026-10-25 03:00:00", "2026-10-25T02:00:00.000Z"],
    ["Europe/Berlin", "2026-03-29 02:30:00", "2026-03-29T01:30:00.000Z"],
    ["Australia/Lord_Howe", "2026-04-05 01:45:00", "2026-04-04T14:45:00.000Z"],
  ];
  for (const [zone, text, wanted] of cases) assert.equal(iso(foreignDateMs({ zone }, text)), wanted, `${zone} ${text}`);
});

Deno.test("foreign dates: numbers count what the rule says, also where a TEXT column made texts of them", () => {
  const wanted = "2023-11-14T22:13:20.000Z";
  assert.equal(iso(foreignDateMs({ unit: "s" }, 1_700_000_000)), wanted);
  assert.equal(iso(foreignDateMs({ unit: "s" }, "1700000000")), wanted);
  assert.equal(iso(foreignDateMs({ unit: "s" }, 1_700_000_000.25)), "2023-11-14T22:13:20.250Z");
  assert.equal(iso(foreignDateMs({ unit: "ms" }, 1_700_000_000_000)), wanted);
  assert.equal(iso(foreignDateMs({ unit: "us" }, 1_700_000_000_000_000n)), wanted);
  assert.equal(iso(foreignDateMs({ unit: "julianday" }, 2460263.425925926)), wanted);
});

Deno.test("foreign dates: what says its zone needs no rule; what says nothing is never guessed", () => {
  for (const text of ["2026-07-01T12:00:00Z", "2026-07-01 12:00:00+02:00", "soon"]) {
    assert.equal(foreignDateMs(undefined, text), undefined);
    assert.equal(foreignDateMs({ zone: "America/Lima", unit: "s" }, text), undefined);
  }
  for (const value of ["2026-07-01 12:00:00", "2026-07-01", 1_700_000_000, 1_700_000_000_000n, "1700000000"]) {
    assert.throws(() => foreignDateMs(undefined, value), AmbiguousDate);
    assert.throws(() => foreignDateMs({}, value), AmbiguousDate);
  }
  assert.throws(() => foreignDateMs({ unit: "s" }, "2026-07-01"), AmbiguousDate);
  assert.throws(() => foreignDateMs({ zone: "UTC" }, 1_700_000_000), AmbiguousDate);
});

function schemaOf(at: unknown, dates?: unknown): Schema {
  return compileSchema({
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      Reading: {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: "reading#${id}" },
        deviceId: { type: "string", required: true },
        id: { type: "string", required: true },
        at,
      },
    },
    process: { Reading: { sync: "up", ...(dates === undefined ? {} : { dates }) } },
  });
}

const isoDate = { type: "date", isoDates: true }, msDate = { type: "date" };
const table = `CREATE TABLE Reading(id TEXT PRIMARY KEY, at DATETIME);
  INSERT INTO Reading VALUES ('a', '2026-07-01 12:00:00'), ('b', 1700000000), ('c', '2026-07-01T12:00:00+02:00'), ('d', NULL)`;

function made(file: StoreFile, sql: string): void {
  const db = openDatabase(file.path);
  db.exec(sql);
  db.close();
}

const times = (file: StoreFile, schema: Schema) => {
  const store = file.open({ schema });
  const rows = store.db.prepare("SELECT id, at FROM Reading ORDER BY id").all().map(({ id, at }) => `${id} ${at}`);
  store.close();
  return rows;
};

Deno.test("foreign dates: an application's rows are refused one by one without a rule, and taken in by one", () => {
  using file = new StoreFile();
  made(file, table);
  for (const at of [isoDate, msDate]) {
    assert.throws(() => file.open({ schema: schemaOf(at) }), (error) => {
      assert.ok(error instanceof SyncError && error.model === "Reading");
      assert.deepEqual(error.details, [
        "Reading row 1: at = 2026-07-01 12:00:00 names no zone",
        "Reading row 2: at = 1700000000 is a number without a unit",
      ]);
      assert.match(error.hint!, /"process": \{"Reading": \{"dates": \{"at": /);
      return true;
    });
  }
  assert.deepEqual(times(file, schemaOf(isoDate, { at: { zone: "Europe/Berlin", unit: "s" } })), [
    "a 2026-07-01T10:00:00.000Z",
    "b 2023-11-14T22:13:20.000Z",
    "c 2026-07-01T12:00:00+02:00",
    "d null",
  ]);
});

Deno.test("foreign dates: a text or a number that becomes a date at a new schema is no better known", () => {
  for (const [type, value] of [["string", "'2026-07-01 12:00:00'"], ["number", "1782900000"]]) {
    using file = new StoreFile();
    file.open({ schema: schemaOf({ type }) }).db.exec(`INSERT INTO Reading(id, at) VALUES ('a', ${value})`);
    file.open({ schema: schemaOf({ type }) }).close();
    assert.throws(() => file.open({ schema: schemaOf(msDate) }), /names no zone|is a number without a unit/);
    const dates = { at: { zone: "+02:00", unit: "s" } };
    assert.deepEqual(times(file, schemaOf(msDate, dates)), ["a 1782900000000"]);
  }
});

Deno.test("foreign dates: a date of Twintable's own stays what it is, at a new schema and after a reset", () => {
  using file = new StoreFile();
  const schema = schemaOf(isoDate);
  const store = file.open({ schema });
  // SQLite's own spelling, which says UTC in a table of ours.
  store.db.exec("INSERT INTO Reading(id, at) VALUES ('a', datetime(1700000000, 'unixepoch'))");
  store.close();
  const db = openDatabase(file.path);
  resetDatabase(db, { rows: false });
  db.close();
  assert.deepEqual(times(file, schema), ["a 2023-11-14 22:13:20"]);
  assert.deepEqual(times(file, schemaOf(msDate)), ["a 1700000000000"]);
});

Deno.test("foreign dates: a rule that can't be kept is refused with the schema", () => {
  const refused = (dates: unknown, message: RegExp) => assert.throws(() => schemaOf(isoDate, dates), message);
  refused({ at: { zone: "Mars/Olympus" } }, /"zone" must be "UTC", "local", an offset/);
  refused({ at: { unit: "fortnight" } }, /"unit" must be one of s, ms, us, julianday/);
  refused({ at: { zome: "UTC" } }, /"zome" is unknown/);
  refused({ id: { zone: "UTC" } }, /"id": it is no field of type date/);
  refused({ at: "UTC" }, /a rule is an object/);
  refused("UTC", /must be an object of date fields/);
});
