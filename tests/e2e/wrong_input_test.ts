/**
 * Wrong input gives a clear error in the right place, and stops nothing else.
 */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import { startBroker } from "../../cloud/broker/broker.ts";
import { openAgent } from "../../agent/open.ts";
import { compileSchema, SchemaError, SyncError } from "../../schema.ts";
import { assertTwinned } from "../support/compare.ts";
import { type Device, linkSettings, openDevice, startAgent, statusOf } from "../support/device.ts";
import { Program } from "../support/process.ts";
import { e2eSchema, writeSchema } from "../support/schema.ts";
import { connect } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud, type TestCloud } from "../support/test_cloud.ts";
import { patience, until } from "../support/until.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };

/** A copy of the schema to spoil, whose parts are its own. */
function editable(): {
  models: Record<string, Record<string, Record<string, unknown>>>;
  process: Record<string, unknown>;
} {
  return JSON.parse(JSON.stringify(e2eSchema));
}

/** Changes still travel in both directions. */
async function stillWorks(cloud: TestCloud, device: Device, mark: string): Promise<void> {
  device.exec(
    `INSERT INTO Setting(name, text) VALUES ('ok-${mark}', 'up'); INSERT INTO Sample(text) VALUES ('${mark}')`,
  );
  await cloud.put("Command", { name: `ok-${mark}`, text: "down" }, identity);
  await device.settle();
  await until(
    "a change of the cloud is there",
    () => device.count(`SELECT count(*) FROM Command WHERE name = 'ok-${mark}'`) === 1,
  );
  const items = await cloud.items();
  assert.ok(items.some(({ sk }) => sk === `setting#ok-${mark}`), "a change of the device is there");
  assert.ok(items.some(({ _type, text }) => _type === "Sample" && text === mark));
}

/** One line for people: no stack trace, no source code. */
function isOneLine(text: string): void {
  assert.match(text, /^twintable: [^\n]+\n$/);
  assert.doesNotMatch(text, /\bat (file:|async )|\.ts:\d/);
}

Deno.test("wrong input: a broken schema is refused with every mistake named, before a database is made", async () => {
  using dir = new TempDir();
  const broken = editable();
  broken.models.Setting!.value!.type = "integer";
  broken.models.Command!.sk!.value = "command#${nmae}";
  broken.models.Site!.text!.crypt = true;
  assert.throws(() => compileSchema(broken), (error) => {
    assert.ok(error instanceof SchemaError);
    const all = error.problems.join("\n");
    for (const named of [/Setting.*value/, /Command.*nmae/, /Site.*text.*crypt/]) assert.match(all, named);
    return true;
  });
  const schema = writeSchema(dir.path, broken), db = dir.file("dev-1.db");
  const commands = [
    ["agent", "--device", "dev-1", "--account", "acme", "--db", db, "--schema", schema, "--mqtt", "mqtt://127.0.0.1:1"],
    ["cloud", "--schema", schema, "--table", `embedded:${dir.file("cloud.db")}`, "--broker", "--mqtt-port", "0"],
    ["schema", "check", schema],
  ];
  await Promise.all(commands.map(async (args) => {
    await using program = new Program(args);
    assert.notEqual(await program.ended(), 0);
    // `schema check` gives each mistake a line of its own.
    if (args[0] !== "schema") isOneLine(program.stderr);
    assert.match(program.stderr, /Setting.*value/);
  }));
  assert.deepEqual([...Deno.readDirSync(dir.path)].map(({ name }) => name), ["schema.json"]);
});

Deno.test("wrong input: a type error in a row is SQLite's error in the application, and a row that only the cloud can judge is in _rejected", async () => {
  using dir = new TempDir();
  const strict = editable();
  // An expression that no trigger of the device can say (`schema check` names such); both sides have the same schema.
  strict.models.Setting!.text!.validate = "/^(?:[a-z-]*)$/";
  await using cloud = await openTestCloud({ schema: compileSchema(strict) });
  await using device = await openDevice(dir, cloud, { schema: compileSchema(strict) });
  const refused: readonly [sql: string, message: RegExp][] = [
    ["INSERT INTO Setting(name, value) VALUES ('a', 'much')", /value must be a number/],
    ["INSERT INTO Setting(value) VALUES (1)", /NOT NULL constraint failed: Setting.name/],
    ["INSERT INTO Command(name) VALUES ('x')", /Command is read-only on the device/],
    [
      "INSERT INTO Setting(name, deviceId) VALUES ('x', 'dev-2')",
      /this database holds Setting rows of deviceId dev-1 only/,
    ],
  ];
  for (const [sql, message] of refused) assert.throws(() => device.exec(sql), message);

  device.exec("INSERT INTO Setting(name, text) VALUES ('good', 'fine'), ('new', 'NOT FINE'), ('old', 'fine')");
  await device.settle();
  device.exec("UPDATE Setting SET text = 'NOT FINE' WHERE name = 'old'");
  await device.settle();
  const rejected = device.query("SELECT model, key, op, item, code, reason FROM _rejected ORDER BY id");
  assert.deepEqual(
    rejected.map(({ model, key, op, code }) => [model, key, op, code]),
    [["Setting", '{"name":"new"}', "create", "invalid"], ["Setting", '{"name":"old"}', "update", "invalid"]],
  );
  for (const { reason, item } of rejected) {
    assert.match(String(reason), /text/);
    assert.equal(JSON.parse(String(item)).text, "NOT FINE");
  }
  // What the cloud refused is what the table has, on both sides.
  await stillWorks(cloud, device, "strict");
  const rows = await assertTwinned(cloud, device.path, "Setting");
  assert.deepEqual(rows.map(({ name, text }) => [name, text]), [["good", "fine"], ["ok-strict", "up"], [
    "old",
    "fine",
  ]]);
});

Deno.test("wrong input: an item above 400 KB is in _rejected with its content, and holds nothing up", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  device.exec("INSERT INTO Setting(name, text) VALUES ('grows', 'small')");
  await device.settle();
  const insert = (name: string, bytes: number) => {
    using db = connect(device.path);
    db.prepare("INSERT OR REPLACE INTO Setting(name, text) VALUES (?, ?)").run(name, "x".repeat(bytes));
  };
  insert("grows", 410 * 1024);
  insert("huge", 3_000_000);
  insert("fits", 399 * 1024);
  await device.settle();
  await stillWorks(cloud, device, "large");
  const rejected = device.query("SELECT key, code, reason, length(item) AS length FROM _rejected ORDER BY key");
  assert.deepEqual(rejected.map(({ key, code }) => [key, code]), [
    ['{"name":"grows"}', "too-large"],
    ['{"name":"huge"}', "too-large"],
  ]);
  assert.ok(Number(rejected[0]!.length) > 410 * 1024 && Number(rejected[1]!.length) > 3_000_000, "nothing is lost");
  for (const { reason } of rejected) assert.match(String(reason), /400 ?KB|409,?600/);
  const rows = await assertTwinned(cloud, device.path, "Setting");
  assert.deepEqual(rows.map(({ name }) => name), ["fits", "grows", "ok-large"]);
  assert.equal(device.query("SELECT text FROM Setting WHERE name = 'grows'")[0]!.text, "small");
});

const garbage = [
  new Uint8Array(0),
  new Uint8Array([0, 255, 254, 1, 2, 3]),
  ...[
    "{",
    "null",
    "[]",
    '"up"',
    "{}",
    '{"v":1}',
    '{"v":99,"type":"up"}',
    '{"v":1,"type":"up","batch":"x/1","sent":1,"changes":[{}]}',
    '{"v":1,"type":"up","batch":"x/1","sent":1,"changes":[{"model":"Setting","op":"create","item":{"name":1e999},"stamp":-1}]}',
    '{"v":1,"type":"sync","request":5,"channels":"all"}',
    '{"v":1,"type":"changes","channel":"global","epoch":"e","seq":-1,"entries":[],"time":0}',
    '{"v":1,"type":"ack","batch":"nobody/1","time":"now","answers":[]}',
    `${"[".repeat(20_000)}`,
    "\u0000part 3/2",
  ].map((text) => new TextEncoder().encode(text)),
];

Deno.test("wrong input: malformed MQTT payloads in either direction are counted and dropped, and no link is cut", async () => {
  using dir = new TempDir();
  const internal = { username: "worker", password: "secret" };
  let cloud: TestCloud | undefined;
  const broker = await startBroker({
    authenticate: (deviceId, token) => cloud!.cloud.registry.authenticate(deviceId, token),
    internal,
  });
  try {
    // An external broker, so that the test can publish on the device's own topics as well.
    cloud = await openTestCloud({
      mqtt: { url: `mqtt://127.0.0.1:${broker.internalPort}`, ...internal },
      deviceUrl: `mqtt://127.0.0.1:${broker.port}`,
    });
    await using _cloud = cloud;
    await using device = await openDevice(dir, cloud);
    await device.settle();
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.internalPort}`, {
      ...internal,
      protocolVersion: 4,
    });
    try {
      for (const payload of garbage) {
        for (const topic of ["tt/d/dev-1/up", "tt/d/dev-1/sync", "tt/d/dev-1/down", "tt/a/acme", "tt/all"]) {
          await client.publishAsync(topic, payload as never, { qos: 1 });
        }
      }
      // A well-formed message of a device that nobody knows.
      await client.publishAsync("tt/d/stranger/sync", '{"v":1,"type":"sync","request":"s/1","channels":[]}', {
        qos: 1,
      });
    } finally {
      await client.endAsync();
    }
    await stillWorks(cloud, device, "garbage");
    const { counters } = device.tap.link;
    assert.equal(counters.connects, 1);
    assert.ok(counters.malformed >= garbage.length, `${counters.malformed} malformed messages counted on the device`);
    const malformed = cloud.cloud.counters().mqttMalformed!;
    assert.ok(malformed >= garbage.length, `${malformed} malformed messages counted in the cloud`);
    assert.equal(cloud.cloud.service.metrics().messagesUnknown, 1);
  } finally {
    await broker.close();
  }
});

Deno.test("wrong input: a model that the other side does not know waits here and is ignored there, told in problem, and the rest goes on", async () => {
  using dir = new TempDir();
  const without = (...names: string[]) => {
    const schema = editable();
    for (const name of names) {
      delete schema.models[name];
      delete schema.process[name];
    }
    return schema;
  };
  // The cloud knows no Site and no Devicey; the device (below) knows no Notice.
  await using cloud = await openTestCloud({ schema: compileSchema(without("Site", "Devicey")) });
  const agent = await openAgent({
    schema: compileSchema(without("Notice")),
    device: "dev-1",
    account: "acme",
    path: dir.file("dev-1.db"),
    mqtt: cloud.mqttUrl,
    password: await cloud.token("dev-1", "acme"),
    ...linkSettings.get(cloud.mqttUrl),
  });
  try {
    using db = connect(dir.file("dev-1.db"));
    db.exec(
      "INSERT INTO Site(name) VALUES ('s'); INSERT INTO Setting(name) VALUES ('a'); INSERT INTO Devicey(name) VALUES ('d')",
    );
    await cloud.put("Notice", { name: "n" });
    await cloud.put("Board", { name: "b" });
    await until("what both know is there", async () => (await cloud.items("Setting")).length === 1);
    await cloud.streamed();
    await agent.sync({ timeoutMs: 10_000 * patience });
    assert.deepEqual(
      db.prepare("SELECT model, code FROM _rejected").all(),
      [],
      "a difference of schemas rejects nothing",
    );
    await until("it is told", () => agent.status().problems.some(({ name }) => name === "schema"));
    const pending = db.prepare("SELECT model FROM _pending ORDER BY model").all().map(({ model }) => model);
    assert.deepEqual(pending, ["Devicey", "Site"]);
    assert.deepEqual((await cloud.items("Setting")).map(({ name }) => name), ["a"]);
    assert.equal(db.prepare("SELECT count(*) AS n FROM Board").get()!.n, 1);
  } finally {
    await agent.close();
  }
});

Deno.test("wrong input: a full disk is said, stops nothing that needs no space, and is waited out", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  await stillWorks(cloud, device, "before");
  const { db } = device.agent.store;
  const pages = () => Number(db.prepare("PRAGMA page_count").get()!.page_count);
  const limit = (count: number) => db.exec(`PRAGMA max_page_count = ${count}`);
  limit(pages());

  // The application's own connection is told at once, by SQLite.
  {
    using own = connect(device.path);
    own.exec(`PRAGMA max_page_count = ${pages()}`);
    assert.throws(() => own.prepare("INSERT INTO Sample(text) VALUES (?)").run("x".repeat(100_000)), /disk is full/);
  }
  // So is one that uses the agent's API.
  assert.throws(
    () => device.agent.model("Setting").create({ name: "api", text: "x".repeat(100_000) }),
    (error) => error instanceof SyncError && error.code === "full" && error.retryable,
  );
  // The agent itself has to apply what comes.
  await cloud.put("Command", { name: "large", text: "x".repeat(200_000) }, identity);
  await until("the agent says that the disk is full", () => /full/.test(device.agent.status().lastError ?? ""));
  assert.equal(device.count("SELECT count(*) FROM Command WHERE name = 'large'"), 0);
  assert.equal(device.query("PRAGMA integrity_check")[0]!.integrity_check, "ok");

  limit(1_000_000_000);
  await until(
    "what waited is there",
    () => device.count("SELECT count(*) FROM Command WHERE name = 'large'") === 1,
    60_000,
  );
  await stillWorks(cloud, device, "after");
  await assertTwinned(cloud, device.path, "Setting");
  await until("nothing is wrong any more", () => device.query("SELECT problem FROM _status")[0]!.problem === null);
});

Deno.test("wrong input: a file that is no database is refused and left alone, and so is another's", async () => {
  using dir = new TempDir();
  const text = "no database at all\n".repeat(1_000);
  Deno.writeTextFileSync(dir.file("letter.db"), text);
  const agent = (db: string, device = "dev-1") =>
    new Program([
      ...["agent", "--device", device, "--account", "acme", "--db", db, "--schema", writeSchema(dir.path)],
      ...["--mqtt", "mqtt://127.0.0.1:1"],
    ]);
  {
    await using program = agent(dir.file("letter.db"));
    assert.equal(await program.ended(), 1);
    isOneLine(program.stderr);
    assert.match(program.stderr, /letter\.db.*not a database/);
    assert.equal(Deno.readTextFileSync(dir.file("letter.db")), text);
  }
  {
    await using running = await startAgent(dir, { mqttUrl: "mqtt://127.0.0.1:1", token: "none" });
    await using second = agent(running.path);
    assert.equal(await second.ended(), 1);
    isOneLine(second.stderr);
    assert.match(second.stderr, /another agent is running/);
    assert.equal(statusOf(running.path).device, "dev-1");
    await running.stop();
  }
  {
    await using stranger = agent(dir.file("dev-1.db"), "dev-2");
    assert.equal(await stranger.ended(), 1);
    isOneLine(stranger.stderr);
    assert.match(stranger.stderr, /belongs to the device "dev-1"/);
  }
  await using missing = agent(`${dir.path}/letter.db/below.db`);
  assert.equal(await missing.ended(), 1);
  isOneLine(missing.stderr);
});
