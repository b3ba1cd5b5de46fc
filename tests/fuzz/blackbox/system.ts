/**
 * The system of a round: workers, broker, table and agents, each a process of its own as the command line starts it, with a
 * proxy on the way from each device, and from the workers, to the broker.
 *
 * @module
 */
import { binary, Program } from "../../support/process.ts";
import { authorityCert, serverCert, serverKey } from "../../support/certificates.ts";
import { ChaosProxy } from "../../support/chaos_proxy.ts";
import { type Emulator, emulators } from "../../support/dynamo.ts";
import { FakeTime } from "../../support/faketime.ts";
import { freePort, type Mosquitto, startMosquitto } from "../../support/mosquitto.ts";
import type { Journal } from "./journal.ts";
import type { MadeSchema } from "./made_schema.ts";
import { tokenOf } from "./observe.ts";
import type { Means, Plan, PlannedDevice } from "./plan.ts";
import { DynamoTable, EmbeddedTable, type RawTable, type Version } from "./table.ts";

const internal = { username: "twintable-cloud", password: "internal" };
const awsEnv = { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local" };
/** What is asked to end has this long: a flush of 8 s at most, on a busy machine. */
const endMs = 30_000;

/** A process of the product, over its lives. */
export interface Part {
  readonly name: string;
  program: Program | undefined;
  version: "now" | "next";
  /** The version that others may count on: it runs with it. */
  known: "now" | "next";
  stopped: boolean;
}

/** A device. */
export interface FuzzDevice extends Part {
  readonly id: string;
  readonly account: string;
  readonly path: string;
  readonly token: string;
  readonly mqttVersion: 4 | 5;
  readonly proxy: ChaosProxy;
  readonly clock: FakeTime | undefined;
}

/** Starts the table's emulator once for all rounds. */
export async function emulatorOf(kind: Plan["table"]): Promise<Emulator | undefined> {
  if (kind === "embedded") return undefined;
  return await (await emulators()).find(({ name }) => name === kind)!.start();
}

function killNow(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    // It has just ended by itself.
    if (!(error instanceof Deno.errors.NotFound) && !/ESRCH/.test(String(error))) throw error;
  }
}

/** See the module. Use with `await using`; {@link open} first. */
export class System implements AsyncDisposable {
  readonly workers: Part[] = [];
  readonly devices: FuzzDevice[] = [];
  table!: RawTable;
  apiPort = 0;
  /** Devices whose file was replaced by an older copy of it. */
  readonly rolledBack = new Set<string>();
  /** What stood in the table between a copy and the restore to it, for each restore. */
  readonly lost: (readonly Version[])[] = [];
  /** The channel log lost its entries. */
  logLost = false;
  /** What ended without being told to. */
  readonly lives: { readonly name: string; readonly program: Program; told: boolean }[] = [];
  #broker: Mosquitto | undefined;
  #brokerPort = 0;
  #workerProxy: ChaosProxy | undefined;
  #tableProxy: ChaosProxy | undefined;
  #tableUrl = "";
  #workersTableUrl = "";
  readonly #closers: (() => Promise<unknown>)[] = [];

  constructor(
    readonly plan: Plan,
    readonly dir: string,
    readonly journal: Journal,
    readonly means: Means,
    readonly emulator: Emulator | undefined,
    readonly random: () => number,
  ) {}

  async open(): Promise<this> {
    const { plan } = this;
    for (const [name, schema] of [["now", plan.schema], ["next", plan.next]] as const) {
      if (schema) Deno.writeTextFileSync(this.#schemaFile(name), JSON.stringify(schema.json, null, 1));
    }
    for (const [name, pem] of [["ca", authorityCert], ["server", serverCert], ["server-key", serverKey]] as const) {
      Deno.writeTextFileSync(`${this.dir}/${name}.pem`, pem);
    }
    await this.#openTable();
    this.apiPort = await freePort();
    const tokens = new Map<string, string>();
    for (const { id, account } of plan.devices) tokens.set(id, await this.#register(id, account));
    if (plan.broker === "mosquitto") {
      const devices = plan.devices.map(({ id, account }) => ({
        deviceId: id,
        accountId: account,
        token: tokens.get(id)!,
      }));
      this.#broker = await startMosquitto({ devices, internal, ...this.#mosquittoTls });
      this.#closers.push(async () => await this.#broker!.stop());
      this.#workerProxy = await this.#proxy(this.#broker.workerPort);
    }
    this.#brokerPort = this.#broker?.devicePort ?? await freePort();
    for (let i = 0; i < plan.workers; i++) {
      const worker: Part = { name: `worker${i + 1}`, program: undefined, version: "now", known: "now", stopped: false };
      this.workers.push(worker);
      await this.startWorker(worker);
    }
    for (const device of plan.devices) await this.#addDevice(device, tokens.get(device.id)!);
    if (this.table instanceof EmbeddedTable) this.table.watch();
    await Promise.all(this.devices.map((device) => this.startAgent(device)));
    return this;
  }

  get #mosquittoTls() {
    return this.plan.tls ? { tls: { cert: serverCert, key: serverKey, ca: authorityCert } } : {};
  }

  #schemaFile(version: Part["version"]): string {
    return `${this.dir}/schema-${version}.json`;
  }

  schemaOf({ known }: Part): MadeSchema {
    return known === "next" ? this.plan.next! : this.plan.schema;
  }

  async #openTable(): Promise<void> {
    if (!this.emulator) {
      this.#tableUrl = this.#workersTableUrl = `embedded:${this.dir}/cloud.db`;
      this.table = new EmbeddedTable(`${this.dir}/cloud.db`);
      return;
    }
    const name = `fuzz-${this.plan.seed}-${crypto.randomUUID().slice(0, 8)}`;
    const table = this.table = new DynamoTable(this.emulator.endpoint, name);
    // Others reach the table past it.
    this.#tableProxy = await this.#proxy(Number(new URL(this.emulator.endpoint).port));
    this.#aim(table);
    const args = ["cloud", "table", "create", "--schema", this.#schemaFile("now"), "--table", this.#tableUrl];
    await this.#command("table create", args);
    this.#closers.push(() => Promise.resolve(this.table.close()));
  }

  /** The workers' table is this one. */
  #aim({ name, endpoint }: DynamoTable, more = ""): void {
    this.#tableUrl = `dynamodb://${name}?region=us-east-1&endpoint=${endpoint}${more}`;
    this.#workersTableUrl = this.#tableUrl.replace(endpoint, `http://127.0.0.1:${this.#tableProxy!.port}`);
  }

  async #proxy(port: number): Promise<ChaosProxy> {
    const proxy = await ChaosProxy.open(port, this.random);
    this.#closers.push(() => proxy[Symbol.asyncDispose]());
    return proxy;
  }

  async #command(name: string, args: string[]): Promise<string> {
    const program = new Program(args, awsEnv);
    const code = await program.ended();
    if (code !== 0) throw new Error(`${name} ended with ${code}: ${program.stdout}${program.stderr}`);
    return program.stdout;
  }

  async #register(id: string, account: string): Promise<string> {
    const table = ["--table", this.#tableUrl, "--schema", this.#schemaFile("now")];
    const said = await this.#command("device add", ["device", "add", id, "--account", account, ...table]);
    const token = said.match(/\b[\w-]{20,}\b/)?.[0];
    if (!token) throw new Error(`device add printed no token: ${said}`);
    return token;
  }

  async #addDevice({ id, account, mqttVersion }: PlannedDevice, token: string): Promise<void> {
    const folder = `${this.dir}/clock-${id}`;
    const clock = this.means.faketime && this.plan.faults.includes("clock") ? folder : undefined;
    if (clock) Deno.mkdirSync(clock);
    this.devices.push({
      ...{
        name: id,
        id,
        account,
        token,
        mqttVersion,
        path: `${this.dir}/${id}.db`,
        program: undefined,
        version: "now",
        known: "now",
        stopped: false,
      },
      proxy: await this.#proxy(this.#brokerPort),
      clock: clock === undefined ? undefined : new FakeTime(clock, "+0"),
    });
  }

  async startWorker(worker: Part): Promise<void> {
    const isFirst = worker === this.workers[0];
    const broker = this.#workerProxy
      ? [
        "--mqtt",
        `mqtt://127.0.0.1:${this.#workerProxy.port}`,
        "--username",
        internal.username,
        "--password",
        internal.password,
      ]
      : ["--broker", "--mqtt-port", String(this.#brokerPort), ...this.#workerTls];
    await this.#start(
      worker,
      [
        ...["cloud", "--schema", this.#schemaFile(worker.version), "--table", this.#workersTableUrl, ...broker],
        ...(isFirst ? ["--port", String(this.apiPort)] : []),
      ],
      awsEnv,
      /cloud: /,
    );
  }

  /** Of the worker whose broker devices use. */
  get #workerTls(): string[] {
    return this.plan.tls ? ["--cert", `${this.dir}/server.pem`, "--key", `${this.dir}/server-key.pem`] : [];
  }

  async startAgent(device: FuzzDevice): Promise<void> {
    await this.#start(
      device,
      [
        ...["agent", "--device", device.id, "--account", device.account, "--db", device.path],
        ...[
          "--schema",
          this.#schemaFile(device.version),
          "--mqtt",
          `${this.plan.tls ? "mqtts" : "mqtt"}://127.0.0.1:${device.proxy.port}`,
        ],
        ...(this.plan.tls ? ["--ca", `${this.dir}/ca.pem`] : []),
        ...(device.mqttVersion === 5 ? ["--mqtt-version", "5"] : []),
        ...[
          "--password",
          device.token,
          "--synchronous",
          "normal",
          ...(this.plan.payloadMax ? ["--payload-max", String(this.plan.payloadMax)] : []),
          ...(this.plan.outboxMax ? ["--outbox-max", String(this.plan.outboxMax)] : []),
        ],
      ],
      device.clock?.env ?? {},
      /agent .*: /,
      binary,
    );
  }

  async #start(part: Part, args: string[], env: Record<string, string>, ready: RegExp, compiled?: string) {
    const program = part.program = new Program(args, env, compiled);
    this.lives.push({ name: part.name, program, told: false });
    this.journal.note("start", {
      name: part.name,
      args: args.map((arg, i) => args[i - 1] === "--password" ? "…" : arg),
    });
    await program.printed(ready, 60_000);
    part.known = part.version;
  }

  /** kill -9. */
  async kill(part: Part): Promise<void> {
    this.#toldOf(part);
    await part.program!.kill();
    part.stopped = false;
  }

  /** SIGTERM; it must end with 0, in time. */
  async end(part: Part): Promise<void> {
    const program = part.program!;
    this.#toldOf(part);
    const timeout = setTimeout(() => {
      this.journal.complain(`${part.name} did not end within ${endMs / 1000} s of SIGTERM`);
      Deno.kill(program.pid, "SIGKILL");
    }, endMs);
    const { code, signal } = await program.stop();
    clearTimeout(timeout);
    if (code !== 0 && signal !== "SIGKILL") this.journal.complain(`${part.name} ended with ${code} on SIGTERM`);
  }

  #toldOf(part: Part): void {
    for (const life of this.lives) if (life.program === part.program) life.told = true;
  }

  pause(part: Part, stopped: boolean): void {
    part.stopped = stopped;
    Deno.kill(part.program!.pid, stopped ? "SIGSTOP" : "SIGCONT");
  }

  /** The broker dies and knows nothing when it is back. An embedded one is its worker's. */
  async restartBroker(downMs: number): Promise<void> {
    if (!this.#broker) {
      await this.kill(this.workers[0]!);
      await new Promise((resolve) => setTimeout(resolve, downMs));
      return await this.startWorker(this.workers[0]!);
    }
    const { devicePort, workerPort, pid } = this.#broker;
    Deno.kill(pid, "SIGKILL");
    await this.#broker.stop();
    await new Promise((resolve) => setTimeout(resolve, downMs));
    const devices = this.devices.map(({ id, account, token }) => ({ deviceId: id, accountId: account, token }));
    this.#broker = await startMosquitto({ devices, internal, devicePort, workerPort, ...this.#mosquittoTls });
  }

  /** The workers end; something is done to the table that they served; they start again. */
  async #underneath(work: () => Promise<void>): Promise<void> {
    for (const worker of this.workers) await this.end(worker);
    await this.table.alone(work);
    for (const worker of this.workers) await this.startWorker(worker);
  }

  /** Restores the table to what it keeps, as docs/cloud.md says. */
  async restoreTable(since: string): Promise<void> {
    const { table } = this, schema = ["--schema", this.#schemaFile(this.workers[0]!.version)];
    await this.#underneath(async () => {
      this.lost.push(await table.restore());
      if (table instanceof DynamoTable) {
        this.#aim(table, `&log=${table.name.replace(/-r\d+$/, "")}-log`);
        await this.#command("table create", ["cloud", "table", "create", ...schema, "--table", this.#tableUrl]);
      }
      const known = new Set((await table.history()).map(({ key, item }) => `${key} ${tokenOf(item)}`));
      const { cloudWrites } = this.journal;
      const left = cloudWrites.filter(({ key, token }) => known.has(`${key} ${token}`));
      cloudWrites.splice(0, cloudWrites.length, ...left);
      const where = [...schema, "--table", this.#tableUrl];
      await this.#command("table restored", ["cloud", "table", "restored", "--since", since, ...where]);
    });
  }

  /** The embedded table's channel logs are lost. */
  async loseLog(): Promise<void> {
    this.logLost = true;
    // Only the epochs say that a table was restored: with them, what devices have not offered yet would be given up.
    const isRestored = this.plan.faults.includes("table-restore");
    const { table } = this;
    if (!(table instanceof EmbeddedTable)) throw new TypeError("the table is not embedded");
    await this.#underneath(() => Promise.resolve(table.loseLog(!isRestored)));
  }

  get proxies(): ChaosProxy[] {
    const ofWorkers = [this.#workerProxy, this.#tableProxy].filter((proxy) => proxy !== undefined);
    return [...this.devices.map(({ proxy }) => proxy), ...ofWorkers];
  }

  get parts(): Part[] {
    return [...this.workers, ...this.devices];
  }

  /** A request of the items API, at the first worker. */
  async api(method: string, body: unknown): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://127.0.0.1:${this.apiPort}/api/items`, {
      method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, text: await response.text() };
  }

  /** Runs a command on a device's file. */
  async deviceCommand(args: string[]): Promise<{ code: number; printed: string; said: string }> {
    const program = new Program(args, {}, binary);
    const code = await program.ended();
    return { code, printed: program.stdout, said: program.stdout + program.stderr };
  }

  /** Ends everything at once, whatever it does. */
  abandon(): void {
    for (const { program } of this.lives) if (!program.exited) killNow(program.pid);
    if (this.#broker) killNow(this.#broker.pid);
  }

  /** All processes' output, as files in the folder. */
  writeLogs(): void {
    const texts = new Map<string, string>();
    for (const { name, program } of this.lives) {
      const life = `--- pid ${program.pid}\n${program.stdout}${program.stderr}`;
      texts.set(name, (texts.get(name) ?? "") + life);
    }
    for (const [name, text] of texts) Deno.writeTextFileSync(`${this.dir}/${name}.log`, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { program } of this.lives) await program.kill();
    for (const close of this.#closers.reverse()) await close();
  }
}
