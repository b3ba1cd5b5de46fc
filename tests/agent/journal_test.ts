/**
 * The agent's journal: a line for each thing that an operator has to know of, by a table of what brings it about; and with `-v`
 * each step.
 */
import assert from "node:assert/strict";
import { startBroker } from "../../cloud/broker/broker.ts";
import { MqttLink } from "../../agent/link.ts";
import { openAgent } from "../../agent/open.ts";
import { freePort } from "../support/mosquitto.ts";
import { linesBurst } from "../../protocol/log.ts";
import { logLines } from "../support/log_lines.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { Scripted, twinSchema } from "./twin_fixture.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };
const hourMs = 3_600_000;
const many = (n: number) => `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${n})`;

/** What happens, and the lines that it writes: each of these, in this order, with what it says. */
interface Case {
  readonly name: string;
  readonly run: () => void | Promise<void>;
  readonly lines: readonly RegExp[];
  /** Lines that are wanted, and no other from `info` on. Default true. */
  readonly alone?: false;
}

function scripted(run: (device: Scripted) => void, limits?: ConstructorParameters<typeof Scripted>[0]): () => void {
  return () => {
    using device = new Scripted(limits);
    device.connect();
    device.pass(2_000);
    run(device);
  };
}

/** A broker that lets `dev-1` in with the token `t`. */
function broker(port: number) {
  return startBroker({
    port,
    internal: { username: "cloud", password: "secret" },
    authenticate: (_device, token) => Promise.resolve(token === "t" ? identity : undefined),
  });
}

/** A link, started; resolves what happened to it. */
async function withLink(password: string, run: (link: MqttLink, port: number) => Promise<void>): Promise<void> {
  const port = await freePort();
  const link = new MqttLink({ url: `mqtt://127.0.0.1:${port}`, identity, password, retryMinMs: 10, retryMaxMs: 50 });
  const start = () => link.start({ connected() {}, disconnected() {}, message() {} });
  try {
    const first = await broker(port);
    start();
    await until("it has answered", () => link.connected || link.lastError);
    await first.close();
    await run(link, port);
  } finally {
    await link.close();
  }
}

const cases: readonly Case[] = [
  {
    name: "connected, lost and why, back",
    run: () =>
      withLink("t", async (link, port) => {
        await until("it is lost", () => !link.connected && /ECONNREFUSED|refused/i.test(link.lastError ?? ""));
        const again = await broker(port);
        await until("it is back", () => link.connected);
        await link.close();
        await again.close();
      }),
    lines: [
      /^info link: connected to 127\.0\.0\.1:\d+ as dev-1$/,
      /^warning link: the broker 127\.0\.0\.1:\d+ is away: unavailable: (the broker .* closed|the connection .* failed)/,
      /^info link: the broker .* is back after \d+\.\d s: \d+ attempts? failed$/,
    ],
    // The broker of this test writes lines of its own.
    alone: false,
  },
  {
    name: "refused",
    run: () => withLink("wrong", () => Promise.resolve()),
    lines: [/^warning link: the broker .* is away: unauthorized: the broker 127.* refused dev-1: /],
    alone: false,
  },
  {
    name: "rejected, what and why",
    run: scripted((device) => {
      device.judge = (_change, at) => ({ at, code: "invalid", reason: "n is too large" });
      device.sql("INSERT INTO Sample(id, n) VALUES ('s1', 1)");
      device.pass(3_000);
    }),
    lines: [/^warning agent: rejected: create Sample \{.*"id":"s1".*\}: invalid: n is too large$/],
  },
  {
    name: "set aside, what and why",
    run: scripted((device) => {
      device.write({ one: { slot: "s1" } });
      device.write({ two: { slot: "s1" } });
      device.pass(3_000);
    }),
    lines: [/^warning agent: set aside: Slot device#dev-1 slot#two: .*s1|^warning agent: set aside: Slot .*UNIQUE/i],
  },
  {
    name: "lost a conflict",
    run: scripted((device) => {
      device.write({ one: { slot: "s1" } });
      device.judge = (change, at) =>
        change.model === "Slot"
          ? {
            at,
            code: "stale",
            current: { model: "Slot", item: { name: "one", slot: "s3" }, version: ["other#9", 8e15] },
          }
          : undefined;
      device.sql("UPDATE Slot SET slot = 's2' WHERE name = 'one'");
      device.pass(3_000);
    }),
    lines: [/^info agent: lost a conflict: update Slot .*one.*: stale$/],
  },
  {
    name: "the outbox is full, and has room again",
    run: scripted((device) => {
      device.disconnect();
      device.sql(`${many(100)} INSERT INTO Sample(n) SELECT x FROM i`);
      device.pass(2_000);
      device.connect();
      device.pass(60_000);
    }, { limits: { outboxMax: 100 } }),
    lines: [/^warning agent: .*the outbox is full/, /^info agent: over after \d+ s: .*the outbox is full/],
  },
  {
    name: "the disk is full, and has space again",
    run: scripted((device) => {
      const { db } = device.store;
      db.exec(`PRAGMA max_page_count = ${db.prepare("PRAGMA page_count").get()!.page_count}`);
      device.write(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`n${i}`, { slot: "x".repeat(500) + i }])));
      device.pass(5_000);
      db.exec("PRAGMA max_page_count = 1000000");
      device.pass(60_000);
    }),
    lines: [
      /^warning agent: the disk is full: syncing continues when there is space$/,
      /^info agent: over after \d+ s: the disk is full/,
    ],
  },
  {
    name: "a fault of the storage",
    run: scripted((device) => {
      device.store.db.exec(
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON _sync_clock BEGIN SELECT RAISE(ABORT, 'bad sector'); END",
      );
      device.nowMs -= 4 * hourMs;
      device.aheadMs += 4 * hourMs;
      device.pass(2_000);
    }),
    lines: [/^warning agent: .*bad sector/],
  },
  {
    name: "the clock was corrected",
    run: () => {
      using device = new Scripted();
      device.aheadMs = 5_000;
      device.connect();
      device.pass(2_000);
      device.pass(400_000);
    },
    lines: [/^info agent: clock corrected: this machine's clock is 5\.0 s behind the cloud's$/],
  },
  {
    name: "the clock jumped",
    run: scripted((device) => {
      device.nowMs -= hourMs;
      device.aheadMs += hourMs;
      device.pass(2_000);
    }),
    lines: [
      /^info agent: the clock of this machine jumped by -3600\.0 s$/,
      /^info agent: clock corrected: this machine's clock is 3600\.0 s behind the cloud's$/,
    ],
  },
  {
    name: "a restored copy",
    async run() {
      using dir = new TempDir();
      const path = dir.file("d.db"), copy = dir.file("copy.db");
      const open = () => openAgent({ schema: twinSchema, device: "dev-1", account: "acme", path });
      await (await open()).close();
      Deno.copyFileSync(path, copy);
      await (await open()).close();
      Deno.copyFileSync(copy, path);
      const agent = await open();
      assert.ok(agent.restored);
      await agent.close();
    },
    lines: [/^warning agent: .*d\.db is a restored copy of an earlier time: a snapshot brings it up to date$/],
  },
];

for (const { name, run, lines: wanted, alone = true } of cases) {
  Deno.test({
    name: `journal: ${name}`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using lines = await logLines();
      await run();
      const own = lines.filter((line) => /^\w+ (agent|link): /.test(line));
      let at = 0;
      for (const line of own) if (at < wanted.length && wanted[at]!.test(line)) at++;
      assert.equal(at, wanted.length, `${wanted[at]} is not among\n${own.join("\n")}`);
      if (alone) assert.equal(own.length, wanted.length, own.join("\n"));
      for (const line of own) assert.ok(!/ at .*\.ts:\d/.test(line), line);
    },
  });
}

Deno.test({
  name: "journal: a flood of rejected changes has so many lines, and the rest is counted",
  async fn() {
    await using lines = await logLines();
    scripted((device) => {
      device.judge = (_change, at) => ({ at, code: "invalid" });
      device.sql(`${many(1_000)} INSERT INTO Sample(n) SELECT x FROM i`);
      device.pass(30_000);
    })();
    const rejected = lines.filter((line) => line.includes("rejected:"));
    assert.ok(rejected.length >= linesBurst - 2 && rejected.length < 100, String(rejected.length));
  },
});

Deno.test({
  name: "journal: with -v each message is a step, without what is in it",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using lines = await logLines("debug");
    const server = await broker(0);
    const link = new MqttLink({ url: `mqtt://127.0.0.1:${server.port}`, identity, password: "t" });
    link.start({ connected() {}, disconnected() {}, message() {} });
    await until("it is connected", () => link.connected);
    link.send(
      {
        type: "up",
        batch: "b/1",
        time: 1,
        changes: [{ model: "Sample", op: "create", item: { secret: "x-secret" }, stamp: 1 }],
      } as unknown as Parameters<MqttLink["send"]>[0],
    );
    await link.close();
    await server.close();
    assert.ok(lines.includes("debug link: sent up, batch b/1, 1 changes"), lines.join("\n"));
    assert.ok(!lines.some((line) => line.includes("x-secret")));
  },
});
