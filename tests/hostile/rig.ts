/**
 * A cloud worker as a process of its own, with a good device, its neighbour and a hostile one of another account, for tests
 * that try what the hostile one can do. The table is embedded or an emulator's, the broker embedded or Mosquitto on what
 * `broker config mosquitto` writes.
 *
 * @module
 */
import project from "../../deno.json" with { type: "json" };
import { mapBounded } from "../../cloud/sync/bounded.ts";
import { openTables } from "../../cloud/open_tables.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import type { Tables } from "../../cloud/table/port.ts";
import { Decoder, encode, type FromCloud, type FromDevice, topics } from "../../protocol.ts";
import { compileSchema, completeItem, keyOf } from "../../schema.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import type { EmulatorKind } from "../support/dynamo.ts";
import { authorityCert, serverCert, serverKey } from "../support/certificates.ts";
import { runModWith } from "../support/mod.ts";
import { program } from "../support/program.ts";
import { freePort } from "../support/mosquitto.ts";
import { accepts, startDynsec } from "../support/mosquitto_dynsec.ts";
import { until } from "../support/until.ts";
import { publishPacket, RawConnection, subscribePacket } from "./raw_mqtt.ts";

const id = { type: "string" };
const model = (hash: string, more: object = {}) => ({
  pk: { type: "string", value: hash },
  sk: { type: "string", value: "${_type}#${id}" },
  id: { ...id, required: true },
  text: { type: "string" },
  v: { type: "number" },
  ...more,
});

/** A model of each scope and direction. */
export const source = {
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } },
  models: {
    Own: model("d#${deviceId}", { deviceId: id, accountId: id }),
    Up: model("u#${deviceId}", { deviceId: id }),
    Down: model("w#${deviceId}", { deviceId: id }),
    Shared: model("a#${accountId}", {
      accountId: id,
      deviceId: id,
      gs1pk: { type: "string", value: "list#${accountId}" },
      gs1sk: { type: "string", value: "${id}" },
    }),
    News: model("news"),
  },
  params: { timestamps: "update" },
  process: {
    Own: { sync: "both" },
    Up: { sync: "up" },
    Down: { sync: "down" },
    Shared: { sync: "both" },
    News: { sync: "down" },
  },
} as const;
export const schema = compileSchema(source as unknown as Parameters<typeof compileSchema>[0]);

/** Who there is, and of which account: `spy` is hostile. A test may want more of these, whose names begin with `spy`. */
export const parties: Readonly<Record<string, string>> = { good: "acme", victim: "acme", spy: "beta", other: "beta" };
/** Stands in everything that is not the spy's. */
export const secret = "SECRET-OF-ACME";

const topic = topics();

/** A device that speaks the protocol and hides nothing of what it gets. */
export class Peer {
  readonly #decoder = new Decoder({ now: () => performance.now() });
  #read = 0;
  /** Payloads that were sent. */
  sent = 0;
  readonly got: FromCloud[] = [];

  constructor(readonly name: string, readonly connection: RawConnection) {}

  send(kind: "up" | "sync", payload: Uint8Array | string, qos = 1): void {
    this.connection.send(publishPacket(topic[kind](this.name), payload, { qos, id: this.sent++ % 60_000 + 1 }));
  }

  tell(message: FromDevice): void {
    for (const payload of encode(message)) this.send(message.type === "up" ? "up" : "sync", payload);
  }

  /** After the connection's list was emptied. */
  rewind(): void {
    this.#read = 0;
    this.got.length = 0;
  }

  /** What has come since the last look. */
  take(): FromCloud[] {
    const { messages } = this.connection;
    const fresh = messages.slice(this.#read).flatMap(({ payload }) => this.#decoder.accept(payload, "down") ?? []);
    this.#read = messages.length;
    this.got.push(...fresh);
    return fresh;
  }

  /** Sends a message and waits for its answer. @returns how long that took, ms */
  async ask(message: FromDevice, timeoutMs = 60_000): Promise<number> {
    const begun = performance.now();
    this.tell(message);
    const name = message.type === "up" ? message.batch : message.type === "ordered" ? message.order : message.request;
    const isAnswer = (got: FromCloud) =>
      ("batch" in got && got.batch === name) || ("request" in got && got.request === name);
    let toldMs = begun;
    await until(`${this.name} has its answer to ${name}`, () => {
      if (this.take().some(isAnswer)) return true;
      // As an agent does.
      if (performance.now() - toldMs > 5_000) {
        toldMs = performance.now();
        this.tell(message.type === "up" ? { ...message, sent: Date.now() } : message);
      }
      return false;
    }, timeoutMs);
    return performance.now() - begun;
  }
}

/** See the module. */
export interface Rig extends AsyncDisposable {
  readonly devicePort: number;
  readonly token: (party: string) => string;
  readonly tables: Tables;
  /** A device that is connected and reads what it may. */
  peer(party: string): Promise<Peer>;
  /** The worker's counters and gauges, by their names in `/metrics` without `twintable_` and `_total`. */
  counts(): Promise<Readonly<Record<string, number>>>;
  /** The worker's resident memory, MB, now and at most. */
  memory(): Promise<{ now: number; most: number }>;
  /** What is not the spy's, as it is now. */
  others(): Promise<Item[]>;
  /** What the worker has written to its log. */
  readonly log: () => string;
}

async function memoryOf(pid: number): Promise<{ now: number; most: number }> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const mb = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
  return { now: mb("VmRSS"), most: mb("VmHWM") };
}

const awsEnv = { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_REGION: "us-east-1" };

/** By name. Only those without labels. */
async function countsAt(port: number): Promise<Record<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const found = text.matchAll(/^twintable_([a-z_]+?)(?:_total)? ([0-9.e+]+)$/gm);
  return Object.fromEntries([...found].map(([, name, value]) => [name, Number(value)]));
}

/** The embedded broker's certificate, as flags. */
async function certificateIn(dir: string): Promise<string[]> {
  await Deno.writeTextFile(`${dir}/cert.pem`, serverCert);
  await Deno.writeTextFile(`${dir}/key.pem`, serverKey, { mode: 0o600 });
  return ["--cert", `${dir}/cert.pem`, "--key", `${dir}/key.pem`];
}

/** Starts everything. @param spies more of them, and their accounts */
export async function openRig(
  broker: "embedded" | "embedded with TLS" | "mosquitto",
  emulator?: EmulatorKind,
  spies: Readonly<Record<string, string>> = {},
): Promise<Rig> {
  const everybody = { ...parties, ...spies };
  const dir = await Deno.makeTempDir({ prefix: "twintable-hostile-" });
  await using opened = new AsyncDisposableStack();
  opened.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.writeTextFile(`${dir}/schema.json`, JSON.stringify(source));
  const running = await emulator?.start();
  if (running) opened.defer(() => running.stop());
  const url = running
    ? `dynamodb://hostile?region=us-east-1&endpoint=${encodeURIComponent(running.endpoint)}`
    : `embedded:${dir}/cloud.db`;
  if (running) { for (const [name, value] of Object.entries(awsEnv)) Deno.env.set(name, value); }
  const flags = ["--table", url, "--schema", `${dir}/schema.json`];
  const made = await runModWith({ env: awsEnv }, "cloud", "table", "create", ...flags);
  if (made.code !== 0) throw new Error(made.stderr);
  const tables = await openTables(url, { schema, now: Date.now, shared: true });
  opened.defer(() => tables.close());
  const registry = new Registry(tables.log, { now: Date.now });
  const tokens = new Map<string, string>();
  await mapBounded(Object.entries(everybody), 16, async ([party, account]) => {
    tokens.set(party, await registry.add(party, account));
  });
  const outer = broker === "mosquitto" ? opened.use(await startDynsec(flags, `${dir}/mosquitto`)) : undefined;
  const secure = broker === "embedded with TLS" ? { ca: authorityCert } : undefined;
  const devicePort = outer?.devicePort ?? await freePort();
  const mqtt = outer
    ? [
      "--mqtt",
      `mqtt://127.0.0.1:${outer.workerPort}`,
      "--username",
      outer.worker.username,
      "--password-file",
      outer.workerPasswordFile,
      "--broker-admin-password-file",
      outer.adminPasswordFile,
    ]
    : ["--broker", "--mqtt-port", String(devicePort), ...secure ? await certificateIn(dir) : []];
  const httpPort = await freePort();
  const v8 = /--v8-flags=\S+/.exec(project.tasks.cloud)![0];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", v8, program, "cloud", ...flags, ...mqtt, "--port", String(httpPort)],
    env: { ...awsEnv, NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let log = "", ready = false;
  const reading = [child.stdout, child.stderr].map(async (stream, at) => {
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
      if (at === 0) ready = true;
      log = (log + chunk).slice(-500_000);
    }
  });
  opened.defer(async () => {
    child.kill("SIGTERM");
    await child.status;
    await Promise.all(reading);
  });
  await until("the worker is ready", () => ready || (log !== "" && log.includes("failed")), 60_000);
  await until("the broker listens", () => accepts(devicePort));
  await fill(tables);
  const kept = opened.move();
  return {
    devicePort,
    token: (party) => tokens.get(party)!,
    tables,
    async peer(party) {
      const password = tokens.get(party)!;
      const { connection, code } = await RawConnection.connect(devicePort, {
        clientId: party,
        username: party,
        password,
      }, secure);
      if (code !== 0) throw new Error(`${party} is refused with ${code}`);
      connection.send(subscribePacket([topic.down(party), topic.account(everybody[party]!), topic.all]));
      await connection.next(9);
      return new Peer(party, connection);
    },
    counts: () => countsAt(httpPort),
    memory: () => memoryOf(child.pid),
    others: () => othersIn(tables, everybody),
    log: () => log,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** The time of the spy who was disabled is up: it is let in. */
export async function letInAgain(rig: Rig): Promise<void> {
  const { items: [note] } = await rig.tables.log.query({ index: "primary", hash: "floods", limit: 1 });
  if (note) await rig.tables.log.write([{ op: "put", item: { ...note, until: 0 } }]);
  await until("the spy is let in", async () => {
    try {
      await (await rig.peer("spy")).connection.close();
      return true;
    } catch {
      return false;
    }
  }, 60_000);
}

/** Items of everybody else, of each model, with the secret in them. */
async function fill(tables: Tables): Promise<void> {
  for (const [party, account] of [["good", "acme"], ["victim", "acme"], ["other", "beta"]] as const) {
    for (const name of ["Own", "Up", "Down", "Shared"]) {
      const attributes: Attributes = { id: `${name}-of-${party}`, text: secret, v: 1 };
      const identity = { deviceId: party, accountId: account };
      // What is the spy's own account's it may read.
      const text = name === "Shared" && account === "beta" ? "beta's own" : secret;
      const item = completeItem(schema, schema.models.get(name)!, { ...attributes, text }, identity);
      await tables.data.write([{
        op: "put",
        item: { ...item, _source: `${party}#k`, _stamp: Date.now() * 1000 - 9e9 },
      }]);
    }
  }
}

/** What a spy has written where it may: among its own items and its account's, whatever the rest of its key is. */
function isSpysOwn({ pk, id, _source }: Item, everybody: Readonly<Record<string, string>>): boolean {
  const [source] = String(_source).split("#") as [string];
  if (!source.startsWith("spy") || id === "Shared-of-other") return false;
  return [`d#${source}`, `u#${source}`, `a#${everybody[source]}`].includes(String(pk));
}

async function othersIn(tables: Tables, everybody: Readonly<Record<string, string>>): Promise<Item[]> {
  const items: Item[] = [];
  let after: string | undefined;
  do {
    const page = await tables.data.scan({ limit: 500, after });
    items.push(...page.items.filter((item) => !isSpysOwn(item, everybody)));
    after = page.next;
  } while (after !== undefined);
  return items.sort((a, b) => JSON.stringify(keyOf(schema, a)) < JSON.stringify(keyOf(schema, b)) ? -1 : 1);
}
