/** A file of an earlier version, whose columns of JSON held tags, becomes plain when it is opened, and sends nothing for it. */
import assert from "node:assert/strict";
import { openStore } from "../../../agent/store/store.ts";
import { compileSchema } from "../../../schema.ts";
import { compiled, identity } from "../store_fixture.ts";

Deno.test("untag: columns of JSON that held tags are plain from the next start on, once, and nothing is sent for it", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/device.db`, options = { path, schema: compiled, identity, now: Date.now };
    const texts = {
      tagged: '{"raw":{"$b":"AAEC"},"tags":{"$ss":["a"]},"map":{"$m":{"$n":"5"}}}',
      plain: '{"price":"$5","ref":{"$ref":"#/x"}}',
    };
    const first = openStore(options);
    for (const [at, text] of Object.values(texts).entries()) {
      first.db.sql("INSERT INTO Thing(_id, kind, n, meta) VALUES (?, 'a', ?, ?)").run(
        at === 0 ? 9007199254740993n : 2,
        at,
        text,
      );
    }
    // {"a":{"$ss":["<a byte that is no UTF-8>"]}}: nobody can say what it means.
    first.db.exec(
      "INSERT INTO Thing(_id, kind, n, meta) VALUES (3, 'a', 3, CAST(x'7b2261223a7b22247373223a5b22ff225d7d7d' AS TEXT))",
    );
    first.db.exec("DELETE FROM _outbox; DELETE FROM _sync WHERE name = 'columns'");
    first.close();
    const read = () => {
      const store = openStore(options);
      const found = store.db.prepare("SELECT meta FROM Thing WHERE n < 3 ORDER BY n").all().map(({ meta }) => meta);
      assert.equal(store.db.prepare("SELECT count(*) AS n FROM _outbox").get()!.n, 0);
      const { bytes } = store.db.prepare("SELECT hex(meta) AS bytes FROM Thing WHERE n = 3").get()!;
      assert.equal(bytes, "7B2261223A7B22247373223A5B22FF225D7D7D", "what is no UTF-8 stays as it is");
      store.close();
      return found;
    };
    const wanted = ['{"raw":"AAEC","tags":["a"],"map":{"$n":"5"}}', texts.plain];
    assert.deepEqual(read(), wanted);
    assert.deepEqual(read(), wanted, "a map that looks like a tag is one no more");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("migration: a value that is to be converted and is no UTF-8 refuses the new schema by its row's name", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/device.db`;
    const schemaOf = (type: "string" | "number") =>
      compileSchema({
        version: type,
        indexes: { primary: { hash: "pk", sort: "sk" } },
        models: {
          Note: {
            pk: { type: "string", value: "d#${deviceId}" },
            sk: { type: "string", value: "note#${name}" },
            deviceId: { type: "string", required: true },
            name: { type: "string", required: true },
            v: { type },
          },
        },
        process: { Note: { sync: "up" } },
      });
    const first = openStore({ path, schema: schemaOf("string"), identity, now: Date.now });
    first.db.exec("INSERT INTO Note(name, v) VALUES ('good', '5'), ('bad', CAST(x'35ff' AS TEXT))");
    first.close();
    assert.throws(
      () => openStore({ path, schema: schemaOf("number"), identity, now: Date.now }),
      /Note row 2: v = 2 bytes is not UTF-8/,
    );
    const same = openStore({ path, schema: schemaOf("string"), identity, now: Date.now });
    assert.equal(same.db.prepare("SELECT hex(v) AS bytes FROM Note WHERE name = 'bad'").get()!.bytes, "35FF");
    same.close();
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
