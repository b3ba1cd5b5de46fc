/** The cloud's half of a verification: what a device is told of which items. */
import assert from "node:assert/strict";
import { answerCompare, answerProbe } from "../../../cloud/sync/compare.ts";
import { type CatchUpContext, defaultPageLimits } from "../../../cloud/sync/catch_up.ts";
import { keyOf } from "../../../schema.ts";
import { Fixture, identity, other, schema } from "../fixture.ts";

function contextOf(fixture: Fixture): CatchUpContext {
  return { schema, data: fixture.tables.data, log: fixture.log, now: fixture.now, limits: defaultPageLimits };
}

Deno.test("compare: a probe has digests of the device's own items, and says of others' that there are none", async () => {
  await using fixture = new Fixture();
  const own = await fixture.put("Up", { id: "mine", v: 1 }),
    foreign = await fixture.put("Up", { id: "theirs", v: 1 }, other);
  const [mine, theirs] = [own, foreign].map((item) => keyOf(schema, item));
  const keys = [mine!, theirs!, ["no", "such"] as const];
  const probe = { type: "probe" as const, request: "i/1", model: "Up", attributes: ["id", "v"], keys };
  const { items = [] } = await answerProbe(contextOf(fixture), identity, probe);
  assert.deepEqual(items.map(({ key }) => key), keys);
  assert.match(items[0]!.digest ?? "", /^[0-9a-f]{16}$/);
  assert.deepEqual(items.slice(1).map(({ digest }) => digest), [undefined, undefined]);
});

Deno.test("compare: a device's own channels are compared, and no other's", async () => {
  await using fixture = new Fixture();
  await fixture.put("Plain", { id: "a" });
  const compare = (channel: string) =>
    answerCompare(contextOf(fixture), identity, { type: "compare", request: "i/1", channel, each: true });
  assert.equal((await compare("device:d1"))?.items?.length, 1);
  for (const channel of ["device:d2", "device:d", "device:d11", "account:acme2", "account:other", "nonsense"]) {
    assert.equal(await compare(channel), undefined, channel);
  }
});
