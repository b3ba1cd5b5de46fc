/**
 * What a hostile device says on its own topics: each attempt is distinct in what it is after. None may alter, read or stop
 * anything of anybody else's.
 *
 * @module
 */
import { ask, bomb, change, fresh, hex, part, raw, up } from "./said.ts";
import { siblingsOfAsks, siblingsOfParts, siblingsOfUps } from "./attempts_siblings.ts";

/** One attempt. */
export interface Attempt {
  readonly what: string;
  readonly kind: "up" | "sync";
  readonly payload: Uint8Array | string;
  /** Who makes it. Each has a device of its own, so that none is left unread for what came before it. */
  readonly spy: string;
  /** That device's account: its own, except where the attempt is about its account's others. */
  readonly account: string;
}

const names = [
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "prototype",
  "valueOf",
  "__defineGetter__",
  "then",
  "toJSON",
  "0",
  "",
  "$n",
  "$b",
  "$m",
  "pk",
  "sk",
  "_type",
  "_source",
  "_stamp",
  "gs1pk",
  "gs1sk",
  "deviceId",
  "accountId",
  "owner",
];
const planted = ["list#acme", "victim", "acme", "news"];
const models = [
  "Own",
  "Up",
  "Down",
  "Shared",
  "News",
  "Nothing",
  "__proto__",
  "constructor",
  "toString",
  "_Own",
  "own",
  "Own; DROP TABLE items",
  "",
];
const others = ["victim", "good", "other"];
const keysOf = (party: string, account: string) => [
  [`d#${party}`, `Own#Own-of-${party}`],
  [`u#${party}`, `Up#Up-of-${party}`],
  [`w#${party}`, `Down#Down-of-${party}`],
  [`a#${account}`, `Shared#Shared-of-${party}`],
];
const oddTexts = [
  "\u0000",
  "\r\nERROR forged",
  "\u001b[2J",
  "a".repeat(5_000),
  "../../etc/passwd",
  "'; DROP TABLE items; --",
  "${deviceId}",
  "#",
  "%00",
  "\ud800",
];
const oddNumbers = [
  "1e400",
  "-0",
  "1e-400",
  "9".repeat(400),
  `1${"0".repeat(20_000)}1`,
  "0.1e1",
  `1e${"9".repeat(20)}`,
  "NaN",
  "01",
  "0x10",
];

function* ups(): Generator<readonly [what: string, payload: Uint8Array | string]> {
  for (const model of models) {
    for (const op of ["create", "update", "remove"]) {
      yield [
        `${op} of the model ${JSON.stringify(model)}, named as another's`,
        up([{
          ...change({ model, op }),
          item: { id: "Own-of-victim", deviceId: "victim", accountId: "acme", text: "altered" },
          key: { id: "Own-of-victim", deviceId: "victim", accountId: "acme" },
        }]),
      ];
    }
  }
  for (const name of names) yield [`an attribute ${JSON.stringify(name)}`, raw(`${JSON.stringify(name)}:"beta"`)];
  for (const name of names) {
    yield [`${JSON.stringify(name)} within an attribute`, raw(`"x":{${JSON.stringify(name)}:{"a":1}}`)];
  }
  for (const name of ["gs1pk", "gs1sk", "owner", "accountId", "deviceId"]) {
    for (const value of planted) yield [`${name} = ${value}, planted`, raw(`"${name}":"${value}"`)];
    for (const value of planted) {
      yield [
        `${name} = ${value} in Shared`,
        up([change({ model: "Shared", item: { id: `spy-${fresh()}`, [name]: value } })]),
      ];
    }
  }
  for (const text of oddTexts) {
    yield [`a text ${JSON.stringify(text.slice(0, 20))}`, up([change({ item: { id: `spy-${fresh()}`, text } })])];
  }
  for (const text of oddTexts) {
    yield [`an id ${JSON.stringify(text.slice(0, 20))}`, up([change({ item: { id: text } })])];
  }
  for (const number of oddNumbers) yield [`a number ${number.slice(0, 20)}`, raw(`"v":${number}`)];
  for (const stamp of [-1, 0, 1.5, 2 ** 53, Date.now() * 2000, "1", null]) {
    yield [`a stamp ${stamp}`, up([change({ stamp })])];
  }
  for (const sent of [-1, 0, 1e300, "now", null]) yield [`sent ${sent}`, up([change()], { sent })];
  for (const name of ["", "x", "x/y", `${"x".repeat(65)}/1`, "../1", "good/1", "\n/1", "victim#k/1"]) {
    yield [`a batch named ${JSON.stringify(name)}`, up([change()], { batch: name })];
  }
  for (
    const base of [
      {},
      { version: ["victim#k", 1] },
      { version: ["", -1] },
      { item: { text: "x" } },
      { digest: "zz" },
      { version: "x" },
      null,
      [],
    ]
  ) {
    yield [`a base ${JSON.stringify(base)}`, up([change({ op: "update", base })])];
  }
  yield ["2,000 changes", up(Array.from({ length: 2_000 }, () => change()))];
  yield [
    "a thousand changes of one key",
    up(Array.from({ length: 1_000 }, () => change({ item: { id: "spy-same" } }))),
  ];
  yield ["no changes", up([])];
  yield ["changes that are none", up([null, 1, "x", [], {}])];
  yield ["changes that are an object", up({ length: 1e9 })];
  yield [
    "an item above 400 KB",
    up([change({ item: { id: `spy-${fresh()}`, text: "x".repeat(420_000) } })]).slice(0, 120_000),
  ];
  yield ["40 levels of nesting", raw(`"x":${"[".repeat(40)}${"]".repeat(40)}`)];
  yield ["4,000 levels of nesting", raw(`"x":${"[".repeat(4_000)}${"]".repeat(4_000)}`)];
  for (
    const tag of [
      '{"$n":"x"}',
      '{"$b":"%%"}',
      '{"$ns":["1","1"]}',
      '{"$ss":[]}',
      '{"$n":"9e999999999"}',
      `{"$n":"${"9".repeat(30_000)}"}`,
    ]
  ) {
    yield [`a tag ${tag.slice(0, 20)}`, raw(`"x":${tag}`)];
  }
}

function* asks(): Generator<readonly [what: string, payload: Uint8Array | string]> {
  const channels = [
    "device:victim",
    "device:good",
    "account:acme",
    "global",
    "device:spy",
    "account:",
    "device:#",
    "log#x",
    "devices",
    "device:spy#x",
  ];
  for (const channel of channels) {
    yield [`a snapshot of ${channel}`, ask("sync", { channels: [{ channel }] })];
    yield [`the log of ${channel}`, ask("sync", { channels: [{ channel, epoch: "x", seq: 0 }] })];
    yield [`a comparison of ${channel}`, ask("compare", { channel, each: true })];
    for (const hash of ["d#victim", "a#acme", "devices", "log"]) {
      yield [
        `the page of ${hash} on ${channel}`,
        ask("sync", {
          channels: [{ channel, snapshot: { epoch: "x", head: 0, after: JSON.stringify(["primary", hash, ""]) } }],
        }),
      ];
    }
  }
  for (
    const after of [
      "",
      "x",
      "[]",
      '["primary","d#victim","","x"]',
      "{}",
      "null",
      "[".repeat(10_000),
      '["gs1","list#acme",""]',
      '["__proto__","a","b"]',
    ]
  ) {
    yield [`a comparison from ${after.slice(0, 30)}`, ask("compare", { channel: "device:spy", after })];
  }
  for (const party of others) {
    const account = party === "other" ? "beta" : "acme";
    yield [
      `the items of ${party}`,
      ask("fetch", { keys: keysOf(party, account).filter(([hash]) => hash !== "a#beta") }),
    ];
    for (const model of ["Own", "Up", "Shared"]) {
      yield [
        `${party}'s digests in ${model}`,
        ask("probe", { model, attributes: ["text"], keys: keysOf(party, account) }),
      ];
    }
  }
  for (
    const key of [["devices", "victim"], ["devices#1", "victim"], ["log", "x"], ["", ""], ["part#victim", "x"], [
      "lease",
      "x",
    ]]
  ) {
    yield [`the key ${key.join("/")}`, ask("fetch", { keys: [key] })];
  }
  yield ["200 keys", ask("fetch", { keys: Array.from({ length: 200 }, () => ["x", "y"]) })];
  yield ["keys of 1 KB", ask("fetch", { keys: Array.from({ length: 100 }, () => ["x".repeat(1_000), "y"]) })];
  yield ["a report of others", ask("verified", { report: { deviceId: "victim", text: "x".repeat(10_000) } })];
  yield ["a report of a proto", `{"v":1,"type":"verified","request":"spy/1","report":{"__proto__":{"a":1}}}`];
  for (
    const type of [
      "ack",
      "changes",
      "page",
      "snapshot",
      "items",
      "verify",
      "digests",
      "time",
      "later",
      "",
      "__proto__",
      "constructor",
    ]
  ) {
    yield [
      `a message of the cloud: ${type}`,
      ask(type, { channel: "account:acme", entries: [], epoch: "x", seq: 1, time: 1 }),
    ];
  }
}

function* anything(): Generator<readonly [what: string, payload: Uint8Array | string]> {
  for (
    const text of [
      "",
      "{",
      "{}",
      "null",
      "[]",
      "1",
      '"x"',
      "\u0000",
      "#",
      "#1",
      "#1 x",
      "#2 0123456789abcdef 0 1\nx",
      "!",
      "!x",
      '{"v":2}',
      '{"v":"1"}',
      '{"v":null,"type":"up"}',
      '{"v":1}',
      '{"v":1,"type":"up"}',
      '{"v":1,"v":2,"type":"up"}',
      "\ufeff{}",
    ]
  ) {
    yield [`the payload ${JSON.stringify(text)}`, text];
  }
  yield ["bytes that are no text", Uint8Array.from([0x7b, 0xff, 0xfe, 0x7d])];
  yield ["a version of 300,000 blanks", bomb(`{"v":"${" ".repeat(300_000)}"}`)];
  yield ["a number of 60,000 digits", bomb(raw(`"v":1${"0".repeat(60_000)}1`))];
  yield ["a number of 60,000 digits and a point", bomb(raw(`"v":1${"0".repeat(60_000)}.5`))];
  yield ["a decimal of 60,000 noughts", bomb(raw(`"x":{"$n":"1${"0".repeat(60_000)}1"}`))];
  yield ["16 MB of blanks", bomb(`{"v":1,${" ".repeat(16_000_000)}"type":"up"}`)];
  yield ["8 MB of brackets", bomb(`{"v":1,"type":"up","y":[${"[],".repeat(2_600_000)}[]]}`)];
  yield ["8 MB of a text", bomb(raw(`"text":"${"x".repeat(8_000_000)}"`))];
  yield [
    "50,000 names",
    bomb(`{"v":1,"type":"sync",${Array.from({ length: 50_000 }, (_, i) => `"k${i}":1`).join()}}`),
  ];
  yield ["a bomb cut short", bomb(`{"v":1,${" ".repeat(100_000)}}`).subarray(0, 50)];
  for (
    const [id, index, count] of [[hex(1), 0, 2], [hex(1), 1, 2], [hex(2), 0, 16_384], [hex(3), 5, 2], [
      hex(4),
      0,
      99_999,
    ]] as const
  ) {
    yield [`the part ${index} of ${count}`, part(id, index, count, "x")];
  }
  yield [
    "a message in parts that is not what its id says",
    part(hex(5), 0, 1, '{"v":1,"type":"sync","request":"k/1","channels":[]}'),
  ];
  for (let at = 0; at < 20; at++) yield [`a first part, the ${at + 1}th`, part(hex(100 + at), 0, 3, "x".repeat(30))];
}

/** Attempts that belong together are one device's: parts that may be kept, which those of no form are not. */
function seriesOf(payload: Uint8Array | string): string | undefined {
  if (typeof payload !== "string") return undefined;
  const [, index, count] = /^#1 [0-9a-f]{16} (\d+) (\d+)\n./.exec(payload)?.map(Number) ?? [];
  if (count! > 1 && count! <= 16_384 && index! < count!) return "spy-parts";
  return payload.includes('"batch":"spy/7"') ? "spy-again" : undefined;
}

/** All attempts, made anew: their times and ids are now's. */
export function attempts(): Attempt[] {
  const list: Attempt[] = [];
  const add = (what: string, kind: "up" | "sync", said: Uint8Array | string) => {
    const spy = seriesOf(said) ?? `spy-${list.length}`, isText = typeof said === "string";
    const account = isText && /beta|other/.test(said) ? "beta" : `beta-of-${spy}`;
    const payload = isText ? said.replaceAll("device:spy", `device:${spy}`) : said;
    list.push({ what, kind, payload, spy, account });
  };
  for (const [what, payload] of ups()) add(what, "up", payload);
  for (const [what, payload] of siblingsOfUps()) add(what, "up", payload);
  for (const [what, payload] of [...asks(), ...siblingsOfAsks()]) add(what, "sync", payload);
  for (const [what, payload] of siblingsOfParts()) add(what, "up", payload);
  for (const [what, payload] of anything()) {
    for (const kind of ["up", "sync"] as const) add(`${what}, on ${kind}`, kind, payload);
  }
  return list;
}
