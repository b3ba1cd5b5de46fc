import assert from "node:assert/strict";
import fc from "fast-check";
import { decodePresence, encodePresence, parseRelay, parseTopic, ProtocolError, topics } from "../../protocol.ts";

const id = fc.stringMatching(/^[A-Za-z0-9_.:-]{1,128}$/);

Deno.test("topics: what is made is taken apart again", () => {
  fc.assert(fc.property(id, fc.constantFrom("tt", "fleet/eu-1"), (name, prefix) => {
    const topic = topics(prefix);
    for (const kind of ["up", "sync", "down", "presence"] as const) {
      assert.deepEqual(parseTopic(topic[kind](name), prefix), { kind, deviceId: name });
    }
    assert.deepEqual(parseTopic(topic.account(name), prefix), { kind: "account", accountId: name });
    assert.deepEqual(parseTopic(topic.all, prefix), { kind: "all" });
    assert.deepEqual(parseRelay(topic.relay(name, "sync"), prefix), { kind: "sync", deviceId: name });
  }));
});

Deno.test("topics: an id that could stand for another topic is refused", () => {
  for (const bad of ["", "+", "#", "a/b", "a#", "a+b", "ü", "a b", "a".repeat(129)]) {
    assert.throws(() => topics().up(bad), ProtocolError);
    assert.throws(() => topics().account(bad), ProtocolError);
    assert.equal(parseTopic(`tt/d/${bad}/up`), undefined);
  }
});

Deno.test("topics: foreign topics are none of ours", () => {
  for (
    const topic of [
      "",
      "tt",
      "tt/",
      "tt/d/a",
      "tt/d/a/up/x",
      "tt/d/a/other",
      "xx/d/a/up",
      "tt/a/x/y",
      "tt/all/x",
      "$SYS/x",
    ]
  ) {
    assert.equal(parseTopic(topic), undefined, topic);
  }
  assert.equal(parseRelay("tt/w/part/a/down"), undefined);
});

Deno.test("topics: a prefix with wildcards or empty levels is misuse", () => {
  for (const prefix of ["", "/tt", "tt/", "a//b", "+", "a/#", "a b"]) {
    assert.throws(() => topics(prefix), RangeError, prefix);
  }
});

Deno.test("presence: comes out as it went in, and anything else is refused", () => {
  assert.deepEqual(decodePresence(encodePresence(true)), { online: true });
  assert.deepEqual(decodePresence(encodePresence(false)), { online: false });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
    assert.throws(() => decodePresence(bytes), ProtocolError);
  }));
});
