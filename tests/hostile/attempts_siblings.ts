/**
 * More attempts, which are akin to those that once succeeded: other names, keys, tags, counts and heads of parts.
 *
 * @module
 */
import { ask, change, hex, part, raw, up } from "./said.ts";

/** One: what it is after, and its payload. */
type Said = readonly [what: string, payload: Uint8Array | string];

/** Names that look like an index's or like part of an expression, keys of every kind, separators of templates. */
export function* siblingsOfUps(): Generator<Said> {
  for (
    const name of [
      "gs1pk ",
      "GS1PK",
      "gs1\u200bpk",
      "gs1pk.x",
      "#gs1pk",
      ":gs1pk",
      "a.b[0]",
      "pk = :x OR pk",
      "\u0000pk",
      "_ttl",
      "_epoch",
      "x".repeat(60_000),
    ]
  ) {
    yield [`an attribute ${JSON.stringify(name.slice(0, 20))}, planted`, raw(`${JSON.stringify(name)}:"list#acme"`)];
  }
  for (
    const id of [
      1,
      1e300,
      true,
      null,
      [],
      ["Own-of-victim"],
      { id: "Own-of-victim" },
      { $b: "AAAA" },
      { $n: "7" },
      "",
      " Own-of-victim",
      "x#Own-of-victim",
      "#",
      "\u{1F600}".repeat(500),
      "x".repeat(1_025),
    ]
  ) {
    const shown = JSON.stringify(id).slice(0, 30);
    for (const model of ["Own", "Shared"]) {
      yield [`a key ${shown} in ${model}`, up([{ ...change({ model }), item: { id, text: "altered" } }])];
      yield [
        `the removal of ${shown} in ${model}`,
        up([{ model, op: "remove", stamp: Date.now() * 1000, key: { id } }]),
      ];
    }
  }
  for (const op of ["put", "delete", "", "__proto__", "toString", 1, null, ["create"]]) {
    yield [`the act ${JSON.stringify(op)}`, up([change({ op })])];
  }
  yield [
    "another's names beside the changes",
    up([change()], { deviceId: "victim", accountId: "acme", topic: "tt/d/victim/up" }),
  ];
  for (let at = 0; at < 3; at++) {
    yield [
      `one batch's name for other changes, the ${at + 1}th`,
      up([change({ item: { id: `spy-again-${at}` } })], { batch: "spy/7" }),
    ];
  }
  for (
    const tag of ['{"$ss":["a","a"]}', '{"$bs":["AA==","AA=="]}', '{"$ns":["NaN"]}', '{"$m":{"$m":1}}', '{"$x":1}']
  ) {
    yield [`the tag ${tag}`, raw(`"x":${tag}`)];
  }
  for (const over of [["victim#k", 1], [], "x", { item: { id: "Own-of-victim" } }]) {
    yield [
      `a removal of what it overwrote: ${JSON.stringify(over)}`,
      up([change({ op: "remove", over, key: { id: "Own-of-victim" } })]),
    ];
  }
}

export function* siblingsOfAsks(): Generator<Said> {
  for (const seq of [-1, 0.5, 2 ** 60, "1", null, [1], { $n: "1" }]) {
    yield [
      `the log from ${JSON.stringify(seq)}`,
      ask("sync", { channels: [{ channel: "account:acme", epoch: "x", seq }] }),
    ];
  }
  yield ["10,000 channels", ask("sync", { channels: Array.from({ length: 10_000 }, () => ({ channel: "global" })) })];
  yield [
    "an epoch of 10 KB",
    ask("sync", { channels: [{ channel: "device:spy", epoch: "x".repeat(10_000), seq: 1 }] }),
  ];
  for (
    const keys of [[["d#victim", "Own#Own-of-victim", "x"]], [["d#victim"]], ["d#victim"], [[1, 2]], [null], {}, "x"]
  ) {
    yield [`the keys ${JSON.stringify(keys)}`, ask("fetch", { keys })];
  }
  for (
    const attributes of [
      ["__proto__"],
      ["pk"],
      [],
      [1],
      Array.from({ length: 5_000 }, (_, at) => `a${at}`),
      "text",
    ]
  ) {
    yield [
      `a probe of ${JSON.stringify(attributes).slice(0, 30)}`,
      ask("probe", {
        model: "Own",
        attributes,
        keys: [["d#victim", "Own#Own-of-victim"]],
        defaults: { __proto__: null, text: "x" },
      }),
    ];
  }
  for (
    const [type, more] of [
      ["ordered", { order: "good/1", state: "done", rows: [{ text: "x".repeat(50_000) }] }],
      ["ordered", { order: "../1", state: "__proto__" }],
      ["renew", { csr: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----" }],
      ["renew", { csr: "x".repeat(60_000) }],
      ["rotated", { hash: "0".repeat(64), deviceId: "victim" }],
      ["rotated", { hash: "" }],
      ["tell", { channel: "account:acme", items: [] }],
      ["claim", { code: "GUESS", device: "victim" }],
      ["order", { order: "good/2", do: "rotate", deviceId: "victim" }],
    ] as const
  ) {
    yield [`${type} ${JSON.stringify(more).slice(0, 50)}`, ask(type, more)];
  }
}

/** Parts of messages that belong to no message, or to several. */
export function* siblingsOfParts(): Generator<Said> {
  yield ["a part with another count", part(hex(1), 1, 3, "x")];
  yield ["a part for the second time, with other content", part(hex(2), 0, 16_384, "y")];
  yield ["a part within a part", part(hex(300), 0, 1, part(hex(301), 0, 1, "{}"))];
  yield ["a compressed part of nothing", part(hex(302), 0, 1, "!")];
  yield ["an empty part", part(hex(303), 0, 2, "")];
  for (
    const head of [
      `#1 ${hex(304)} -1 2`,
      `#1 ${hex(304)} 1e1 20`,
      `#1 ${hex(304)} 0 0`,
      `#1 ${hex(304)} 0x1 2`,
      `#1 ABC 0 1`,
      `#1  0 1`,
    ]
  ) {
    yield [`the head of a part ${head}`, `${head}\n{}`];
  }
  yield ["the head of a part that never ends", `#1 ${"0".repeat(100_000)}`];
  for (let at = 0; at < 8; at++) {
    yield [`a large first part, the ${at + 1}th`, part(hex(400 + at), 0, 100, "x".repeat(100_000))];
  }
}
