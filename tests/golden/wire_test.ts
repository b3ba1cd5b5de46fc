/**
 * What the wire carries is frozen: every message of each release is read as it was meant, and written byte for byte as it
 * was; digests, ids and page tokens come out as they did.
 */
import assert from "node:assert/strict";
import { inflateRawSync } from "node:zlib";
import { openEmbedded } from "../../cloud/embedded.ts";
import { decodeToken, encodeToken } from "../../cloud/dynamodb/page_token.ts";
import {
  decodePresence,
  Decoder,
  DigestSum,
  encode,
  encodePresence,
  itemDigest,
  type Message,
} from "../../protocol.ts";
import { compileSchema } from "../../schema.ts";
import { ulid, uuid } from "../../schema/generate.ts";
import { TempDir } from "../support/temp_dir.ts";
import {
  frozen,
  golden,
  type GoldenFacts,
  type GoldenPayloads,
  messageSets,
  payloadOf,
  releases,
  type Said,
  unpack,
} from "./golden.ts";
import { goldenAccount, goldenDevices, goldenSchema } from "./schema.ts";

const text = (payload: Uint8Array) => new TextDecoder().decode(payload);

function read(payloads: readonly Uint8Array[], direction: "up" | "down"): Message | undefined {
  const decoder = new Decoder({ now: () => 0 });
  return payloads.map((payload) => decoder.accept(payload, direction as "up")).at(-1);
}

for (const release of messageSets) {
  const messages = golden<GoldenPayloads[]>(release, "messages.json");

  Deno.test(`golden ${release}: each message is read in each encoding`, async () => {
    for (const one of messages) {
      const inflating = { ...one.message, ...("z" in one.message ? {} : { z: 1 }) };
      await frozen(`the message "${one.name}" is read as another one`, () => {
        assert.deepEqual(read([new TextEncoder().encode(one.plain)], one.direction), one.message);
        const told = read([new TextEncoder().encode(one.inflates)], one.direction)!;
        assert.deepEqual({ ...told, z: 1 }, inflating);
        for (const kind of ["deflated", "parts", "deflatedParts"] as const) {
          assert.deepEqual(read(one[kind].map(payloadOf), one.direction), one.message, kind);
        }
      });
    }
  });

  Deno.test(`golden ${release}: each message is written as it was`, async () => {
    for (const { name, message, plain, inflates, parts } of messages) {
      await frozen(`the message "${name}" is written in other bytes`, () => {
        assert.equal(text(encode(message)[0]!), plain);
        assert.equal(text(encode(message, { inflates: true })[0]!), inflates);
        assert.deepEqual(encode(message, { maxBytes: 1024 }), parts.map(payloadOf));
      });
    }
  });

  Deno.test(`golden ${release}: what is compressed now, a device of then can read`, async () => {
    for (const { name, message, plain } of messages) {
      const [payload] = encode(message, { deflate: true });
      if (payload![0] === 0x7b) continue;
      await frozen(`the compressed message "${name}" can't be read`, () => {
        assert.equal(payload![0], 0x21);
        assert.equal(text(inflateRawSync(payload!.subarray(1))), plain);
      });
    }
  });
}

for (const release of releases) {
  Deno.test(`golden ${release}: what a cloud and its devices said is read as they meant it`, async () => {
    const decoders = new Map<string, Decoder>();
    for (const { topic, payload, message } of golden<Said[]>(release, "said.json.gz")) {
      const kind = topic.split("/").at(-1)!;
      if (kind === "presence" || topic.startsWith("tt/w/")) continue;
      const decoder = decoders.get(topic) ?? new Decoder({ now: () => 0 });
      decoders.set(topic, decoder);
      await frozen(`a message on ${topic} is read as another one`, () => {
        const got = decoder.accept(payloadOf(payload), (kind === "up" || kind === "sync" ? "up" : "down") as "up");
        assert.deepEqual(got, message);
      });
    }
  });

  Deno.test(`golden ${release}: digests and ids come out as they did`, async () => {
    const { item, key, digest, other, both, ids } = golden<GoldenFacts>(release, "facts.json");
    await frozen("an item has another digest: each verification finds all rows different", () => {
      const sum = new DigestSum();
      sum.add(itemDigest(key, item));
      sum.add(itemDigest(["global", ""], { name: "other" }));
      assert.deepEqual([itemDigest(key, item), itemDigest(["global", ""], { name: "other" }), sum.digest], [
        digest,
        other,
        both,
      ]);
    });
    await frozen("ids are spelled differently", () => {
      assert.deepEqual([ulid(ids.atMs, () => 0.5), uuid(() => 0.5)], [ids.ulid, ids.uuid]);
    });
  });

  Deno.test(`golden ${release}: a page token of then goes on where it ended, and is given for the same place`, async () => {
    using folder = new TempDir();
    const { tokens } = golden<GoldenFacts>(release, "facts.json");
    const file = unpack(release, "cloud.db.gz", folder.file("cloud.db"));
    const schema = compileSchema(goldenSchema);
    const tables = openEmbedded(file, { schema, now: Date.now, shared: true });
    const own = { index: "primary", hash: `device#${goldenDevices[1]}` }, limit = 2;
    const listings = {
      primary: (after?: string) => tables.data.query({ ...own, limit, after }),
      prefix: (after?: string) => tables.data.query({ ...own, sortPrefix: "command#c", limit, after }),
      secondary: (after?: string) =>
        tables.data.query({ index: "gs1", hash: `account#${goldenAccount}`, limit: 1, after }),
      scan: (after?: string) => tables.data.scan({ limit, after }),
    };
    try {
      for (const [name, list] of Object.entries(listings)) {
        const token = tokens[name as keyof typeof listings];
        await frozen(`the page token of a listing (${name}) has changed`, async () => {
          const first = await list();
          assert.equal(first.next, token);
          const second = await list(token);
          assert.ok(second.items.length > 0);
          const sorts = [...first.items, ...second.items].map((item) => `${item.pk} ${item.sk}`);
          assert.equal(new Set(sorts).size, sorts.length, "an item comes twice");
        });
      }
    } finally {
      await tables.close();
    }
    await frozen("the page token of DynamoDB has changed", () => {
      const { key, token } = tokens.dynamo;
      assert.deepEqual(decodeToken(token), key);
      assert.equal(encodeToken(key as never), token);
    });
  });
}

Deno.test("golden: a presence is read and written as it was, and a report beside it is ignored by who does not know it", async () => {
  await frozen("a presence is spelled differently", () => {
    const bytes = (value: string) => new TextEncoder().encode(value);
    for (const online of [true, false]) {
      assert.equal(text(encodePresence(online)), `{"v":1,"online":${online}}`);
      assert.equal(decodePresence(bytes(`{"v":1,"online":${online}}`)).online, online);
    }
    const reported = JSON.parse(text(encodePresence(true, { agent: "0.1.0", outbox: 3 })));
    assert.deepEqual([reported.v, reported.online], [1, true]);
  });
});
