/** What matching `validate` takes is bounded by batch, so that a device's batches delay another's by little. */
import assert from "node:assert/strict";
import { openEmbedded } from "../../../cloud/embedded/tables.ts";
import { ingest } from "../../../cloud/sync/ingest.ts";
import { compileSchema } from "../../../schema.ts";

Deno.test("ingest: a batch whose texts are dear to match gives way, and gets on by one change at least", async () => {
  const schema = compileSchema({
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      M: {
        pk: { type: "string", value: "d#${deviceId}" },
        sk: { type: "string", value: "m#${id}" },
        deviceId: { type: "string" },
        id: { type: "string", required: true },
        text: { type: "string", validate: "/^(a+)+b?$/" },
      },
    },
    process: { M: { sync: "both" } },
  });
  const now = () => 1_800_000_000_000;
  const tables = openEmbedded(":memory:", { schema, now });
  try {
    const send = async (texts: readonly string[]) => {
      const changes = texts.map((text, i) => ({
        model: "M",
        op: "create" as const,
        stamp: now() * 1000,
        item: { id: `${text.length}-${i}`, text },
      }));
      const { answers } = await ingest({ schema, tables, now }, { deviceId: "d1", accountId: "a1" }, {
        type: "up",
        batch: "k/1",
        sent: now(),
        changes,
      });
      return texts.map((_, i) => answers.find(({ at }) => at === i)?.code ?? "ok");
    };
    const begun = performance.now();
    assert.deepEqual(new Set(await send(Array(100).fill("a".repeat(90)))), new Set(["ok"]));
    const dear = await send(Array(200).fill("a".repeat(40_000)));
    assert.equal(dear[0], "ok");
    assert.ok(dear.filter((code) => code === "ok").length < 20, "most give way");
    assert.equal(dear.at(-1), "throttled");
    // None of them is accepted, or waits, for ever: what is too long alone is refused.
    assert.deepEqual(await send(["a".repeat(390_000)]), ["invalid"]);
    assert.ok(performance.now() - begun < 5_000);
  } finally {
    await tables.close();
  }
});
