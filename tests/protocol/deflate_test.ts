/**
 * Compressed payloads: what they save, who is sent them, and what bad ones do.
 */
import assert from "node:assert/strict";
import { deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { Decoder, encode, ProtocolError, type Up } from "../../protocol.ts";
import { deflated, deflateMark, inflated } from "../../protocol/deflate.ts";

function decoder(maxBytes?: number): Decoder {
  return new Decoder({ now: () => 0, ...(maxBytes ? { maxBytes } : {}) });
}

function batch(changes: number): Up {
  const item = (n: number) => ({
    id: `01JD8ZK4${(n * 7919).toString(36).padStart(18, "0")}`,
    n,
    cpu: n % 100,
    state: "ok",
  });
  return {
    type: "up",
    batch: "abcdefghijkl/1",
    sent: 1_800_000_000_000,
    changes: Array.from({ length: changes }, (_, n) => ({
      model: "Telemetry",
      op: "create" as const,
      item: item(n),
      stamp: 1_800_000_000_000_000 + n,
    })),
  };
}

Deno.test("deflate: any bytes come back as they were", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 5_000 }), (bytes) => {
    assert.deepEqual(new Uint8Array(inflated(deflated(bytes), 10_000)), bytes);
  }));
});

Deno.test("deflate: a batch of measurements takes less than a third of its JSON, and is decoded as itself", () => {
  const [plain] = encode(batch(50)), [packed] = encode(batch(50), { deflate: true });
  assert.equal(packed![0], deflateMark);
  assert.ok(packed!.length < plain!.length / 3, `${packed!.length} of ${plain!.length} bytes`);
  assert.deepEqual(decoder().accept(packed!, "up"), batch(50));
});

Deno.test("deflate: a small message stays plain JSON, and a compressed one above the limit travels in parts", () => {
  assert.equal(encode({ ...batch(0), batch: "a/1" }, { deflate: true })[0]![0], 0x7b);
  const parts = encode(batch(1_000), { deflate: true, maxBytes: 4_096 });
  assert.ok(parts.length > 1);
  const to = decoder();
  const messages = parts.map((part) => to.accept(part, "up")).filter((message) => message !== undefined);
  assert.deepEqual(messages, [batch(1_000)]);
});

Deno.test("deflate: a receiver learns that it may compress from the sender's word alone", () => {
  const time = { type: "time", request: "k/1", time: 1 } as const;
  const quiet = decoder(), told = decoder();
  quiet.accept(encode(time)[0]!, "down");
  told.accept(encode(time, { inflates: true })[0]!, "down");
  assert.deepEqual([quiet.senderInflates, told.senderInflates], [false, true]);
});

Deno.test("deflate: a request says that its answer may be compressed, and the cloud is told", () => {
  const sync = { type: "sync", request: "k/1", channels: [] } as const;
  assert.deepEqual(decoder().accept(encode(sync)[0]!, "up"), sync);
  assert.deepEqual(decoder().accept(encode(sync, { inflates: true })[0]!, "up"), { ...sync, z: 1 });
});

Deno.test("deflate: a message's bytes are those of its JSON, however it came", () => {
  const to = decoder(), json = encode(batch(100), { maxBytes: 1_000_000 })[0]!.length;
  for (const options of [{}, { deflate: true }, { maxBytes: 2_000 }, { deflate: true, maxBytes: 2_000 }]) {
    for (const payload of encode(batch(100), options)) to.accept(payload, "up");
    assert.equal(to.messageBytes, json);
  }
});

Deno.test("deflate: a damaged, cut or bursting payload is refused", () => {
  const [packed] = encode(batch(50), { deflate: true });
  assert.throws(() => decoder().accept(packed!.subarray(0, packed!.length - 20), "up"), ProtocolError);
  const damaged = packed!.slice();
  damaged.fill(0xff, 10, 20);
  assert.throws(() => decoder().accept(damaged, "up"), ProtocolError);
  const bomb = deflateRawSync(new Uint8Array(10_000_000));
  assert.ok(bomb.length < 20_000);
  const payload = new Uint8Array(bomb.length + 1);
  payload[0] = deflateMark;
  payload.set(bomb, 1);
  assert.throws(() => decoder(1_000_000).accept(payload, "up"), ProtocolError);
});
