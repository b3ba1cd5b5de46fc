/**
 * `validate` on the device: an expression that SQL can say judges as JavaScript does; others are left to the cloud.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { openDatabase } from "../../../agent/sqlite/driver.ts";
import { patternSql } from "../../../agent/store/patterns.ts";
import { compileSchema, SyncError } from "../../../schema.ts";
import { toSyncError } from "../../../agent/store/faults.ts";
import { memoryStore } from "../store_fixture.ts";

const expressions = [
  "^[A-Z]{2}-\\d{4}$",
  "^[a-z][a-z0-9_]*$",
  "^[0-9a-f]{8,16}$",
  "^\\w+$",
  "^[-+]?$",
  "^a\\.b\\*c\\[d\\]\\^$",
  "^[\\]^-]+$",
  "^[ab]$",
  "^x[0-9]{2,}$",
  "^\\?[*?]{0,3}$",
  "^\\/[!-~]*$",
];

Deno.test("patterns: what SQL can say judges every text as JavaScript does", () => {
  const db = openDatabase(":memory:");
  for (const source of expressions) {
    const sql = patternSql(source, "", "v");
    assert.ok(sql, source);
    const expression = new RegExp(source), judge = db.prepare(`SELECT (${sql}) AS ok FROM (SELECT ? AS v)`);
    const texts = fc.oneof(
      fc.stringMatching(expression),
      fc.stringMatching(expression).map((text) => `${text} `),
      fc.stringMatching(expression).map((text) => text.slice(1)),
      fc.string({ unit: "binary", maxLength: 12 }).filter((text) => !text.includes("\0") && text.isWellFormed()),
      fc.string({ unit: fc.constantFrom(..."ab01-_^]*?[.A"), maxLength: 6 }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        assert.equal(judge.get(text)!.ok, expression.test(text) ? 1 : 0, `${source} of ${JSON.stringify(text)}`);
      }),
      { numRuns: 200 },
    );
  }
  db.close();
});

Deno.test("patterns: what it can't say is nothing", () => {
  for (
    const source of [
      "a",
      "^a",
      "a$",
      "^(a|b)$",
      "^.*$",
      "^[^a]$",
      "^a*b$",
      "^a+?$",
      "^\\bx$",
      "^ä$",
      "^[a-\\d]$",
      "^\\$",
      "^\\p{L}$",
    ]
  ) assert.equal(patternSql(source, "", "v"), undefined, source);
  assert.equal(patternSql("^a$", "i", "v"), undefined);
});

Deno.test("patterns: a local write that validate forbids is refused with a sentence; what the cloud sends is not", () => {
  const schema = compileSchema({
    version: "1.0.0",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { isoDates: true },
    models: {
      Tag: {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: "tag#${name}" },
        deviceId: { type: "string", required: true },
        name: { type: "string", required: true },
        code: { type: "string", validate: "/^[A-Z]{2}-\\d{4}$/" },
      },
    },
    process: { Tag: { sync: "both" } },
  });
  const store = memoryStore({ schema });
  const wrong = (sql: string) => {
    try {
      store.db.exec(sql);
    } catch (error) {
      const fault = toSyncError(error, "Writing");
      assert.ok(fault instanceof SyncError && fault.code === "constraint", String(fault));
      assert.match(fault.message, /refused by Twintable: Tag\.code must match \/\^\[A-Z\]\{2\}-/);
      return;
    }
    assert.fail(`${sql} went through`);
  };
  store.db.exec("INSERT INTO Tag(name, code) VALUES ('a', 'AB-1234'), ('b', NULL)");
  wrong("INSERT INTO Tag(name, code) VALUES ('c', 'ab-1234')");
  wrong("UPDATE Tag SET code = 'AB-12345' WHERE name = 'a'");
  const model = schema.models.get("Tag")!;
  store.tx(() => store.applying(() => store.rows(model).put(["device#dev-1", "tag#d"], { name: "d", code: "old" })));
  store.db.exec("UPDATE Tag SET name = 'e' WHERE name = 'd'");
  store.close();
});
