/** A file of an earlier version, whose columns of JSON held tags, becomes plain when it is opened, and sends nothing for it. */
import assert from "node:assert/strict";
import { openStore } from "../../../agent/store/store.ts";
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
    first.db.exec("DELETE FROM _outbox; DELETE FROM _sync WHERE name = 'columns'");
    first.close();
    const read = () => {
      const store = openStore(options);
      const found = store.db.prepare("SELECT meta FROM Thing ORDER BY n").all().map(({ meta }) => meta);
      assert.equal(store.db.prepare("SELECT count(*) AS n FROM _outbox").get()!.n, 0);
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
