/**
 * The whole system as processes, each of which can be killed, stopped and cut off: two agents, two cloud workers, Mosquitto
 * without persistence, a DynamoDB emulator; a chaos proxy before the broker (for devices and for workers) and before the
 * table. Both broker links speak TLS, so that a damaged byte is noticed, as it is in the field.
 *
 * @module
 */
import { openDynamo } from "../../cloud/dynamodb/tables.ts";
import type { DynamoTables } from "../../cloud/dynamodb/tables.ts";
import { completeItem, fromPlain, type Item } from "../../schema.ts";
import { authorityCert, serverCert, serverKey } from "./certificates.ts";
import { ChaosProxy } from "./chaos_proxy.ts";
import { linkSettings, startAgent } from "./device.ts";
import { type Emulator, emulators } from "./dynamo.ts";
import { FakeTime } from "./faketime.ts";
import { type Mosquitto, mosquittoMissing, startMosquitto } from "./mosquitto.ts";
import { Program } from "./process.ts";
import { e2eCompiled, writeSchema } from "./schema.ts";
import { SecondProcess } from "./second_process.ts";
import { TempDir } from "./temp_dir.ts";
import { credentials, newTableUrl, openMade } from "./world.ts";

const accountId = "acme";
const devices = ["d1", "d2"].map((deviceId) => ({ deviceId, accountId, token: `token-of-${deviceId}` }));
const internal = { username: "twintable-cloud", password: "internal" };
const tls = { cert: serverCert, key: serverKey, ca: authorityCert, workers: true };

/** Any emulator: the native one, else Java's. */
const kinds = await emulators();
const emulatorKind = kinds.find(({ missing }) => missing === undefined) ?? kinds[0]!;

/** Why there is no such system here; undefined where there is. */
export const chaosMissing: string | undefined = emulatorKind.missing ?? mosquittoMissing;

/** A device: its agent, which may be started again, and an application that writes to its file from a process of its own. */
export interface ChaosDevice {
  readonly deviceId: string;
  readonly path: string;
  readonly clock: FakeTime;
  readonly app: SecondProcess;
  agent: Program;
}

/** See the module. Use with `await using`; {@link open} first. */
export class ChaosSystem implements AsyncDisposable {
  readonly dir = new TempDir();
  readonly devices: ChaosDevice[] = [];
  readonly workers: Program[] = [];
  emulator!: Emulator;
  broker!: Mosquitto;
  toTable!: ChaosProxy;
  /** From the devices, and from the workers. */
  toBroker!: readonly [ChaosProxy, ChaosProxy];
  /** As cloud applications reach the table, past the proxy. */
  tables!: DynamoTables;
  #tableUrl = "";
  #schemaFile = "";
  readonly #opened = new AsyncDisposableStack();

  constructor(readonly random: () => number) {}

  async open(): Promise<this> {
    this.emulator = await emulatorKind.start();
    this.#opened.defer(() => this.emulator.stop());
    const direct = newTableUrl(this.emulator.endpoint);
    await (await openMade(direct, e2eCompiled)).close();
    this.tables = await openDynamo(direct, { schema: e2eCompiled, credentials });
    this.#opened.defer(() => this.tables.close());
    this.toTable = this.#opened.use(await ChaosProxy.open(Number(new URL(this.emulator.endpoint).port), this.random));
    this.#tableUrl = direct.replace(this.emulator.endpoint, `http://127.0.0.1:${this.toTable.port}`);
    this.broker = await startMosquitto({ devices, internal, tls });
    this.#opened.defer(() => this.broker.stop());
    this.toBroker = [
      this.#opened.use(await ChaosProxy.open(this.broker.devicePort, this.random)),
      this.#opened.use(await ChaosProxy.open(this.broker.workerPort, this.random)),
    ];
    linkSettings.set(this.#deviceUrl, { ca: authorityCert });
    this.#schemaFile = writeSchema(this.dir.path);
    Deno.writeTextFileSync(this.dir.file("workers-ca.pem"), authorityCert);
    for (let i = 0; i < 2; i++) this.workers.push(await this.#startWorker());
    for (const { deviceId, token } of devices) {
      await this.#register(deviceId, token);
      await this.#addDevice(deviceId);
    }
    return this;
  }

  get #deviceUrl(): string {
    return `mqtts://127.0.0.1:${this.toBroker[0].port}`;
  }

  async #register(deviceId: string, token: string): Promise<void> {
    const args = ["device", "add", deviceId, "--account", accountId, "--table", this.#tableUrl];
    await using adding = new Program([...args, "--schema", this.#schemaFile], this.#awsEnv);
    if (await adding.ended() !== 0) throw new Error(`${deviceId} (${token}) could not be added: ${adding.stderr}`);
  }

  get #awsEnv(): Record<string, string> {
    return { AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey };
  }

  async #addDevice(deviceId: string): Promise<void> {
    const folder = this.dir.file(`clock-${deviceId}`);
    Deno.mkdirSync(folder);
    const clock = new FakeTime(folder, "+0");
    const agent = await this.#startAgent(deviceId, clock);
    const app = this.#opened.use(new SecondProcess(clock.env));
    this.devices.push({ deviceId, path: agent.path, clock, app, agent });
  }

  #startAgent(device: string, { env }: FakeTime): Promise<Program & { readonly path: string }> {
    const token = devices.find(({ deviceId }) => deviceId === device)!.token;
    return startAgent(this.dir, { mqttUrl: this.#deviceUrl, token, device, account: accountId, env });
  }

  async #startWorker(): Promise<Program> {
    const worker = new Program([
      ...["cloud", "--schema", this.#schemaFile, "--table", this.#tableUrl],
      ...["--mqtt", `mqtts://127.0.0.1:${this.toBroker[1].port}`, "--ca", this.dir.file("workers-ca.pem")],
      ...["--username", internal.username, "--password", internal.password],
    ], this.#awsEnv);
    await worker.printed(/cloud: dynamodb/);
    return worker;
  }

  /** Kills an agent with -9 and starts it again. */
  async killAgent(device: ChaosDevice): Promise<void> {
    await device.agent.kill();
    device.agent = await this.#startAgent(device.deviceId, device.clock);
  }

  /** Kills a worker with -9 and starts another, which needs the table and the broker for it. */
  async killWorker(at: number): Promise<void> {
    await this.workers[at]!.kill();
    this.workers[at] = await this.#startWorker();
  }

  /** Kills the broker with -9; the next one knows of nothing. */
  async killBroker(downMs: number): Promise<void> {
    Deno.kill(this.broker.pid, "SIGKILL");
    await this.broker.stop();
    await new Promise((resolve) => setTimeout(resolve, downMs));
    const { devicePort, workerPort } = this.broker;
    this.broker = await startMosquitto({ devices, internal, tls, devicePort, workerPort });
  }

  /** All proxies. */
  get proxies(): readonly ChaosProxy[] {
    return [this.toTable, ...this.toBroker];
  }

  /** A cloud application's item, written past everything. */
  async put(model: string, deviceId: string, properties: Record<string, unknown>): Promise<void> {
    const identity = { deviceId, accountId }, compiled = e2eCompiled.models.get(model)!;
    const made = fromPlain(e2eCompiled, compiled, properties, { now: Date.now(), random: Math.random, identity });
    const item = completeItem(e2eCompiled, compiled, made, identity);
    const [result] = await this.tables.data.write([{ op: "put", item }]);
    if (result!.outcome !== "written") throw new Error(`the table did not take ${JSON.stringify(item)}`);
  }

  /** A model's items that a device sees. */
  async items(model: string, deviceId: string): Promise<Item[]> {
    const hash = model === "Site" ? `account#${accountId}` : `device#${deviceId}`, found: Item[] = [];
    let after: string | undefined;
    do {
      const query = { index: "primary", hash, sortPrefix: `${model.toLowerCase()}#`, limit: 1000, after };
      const page = await this.tables.data.query(query);
      found.push(...page.items);
      after = page.next;
    } while (after !== undefined);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of [...this.devices.map(({ agent }) => agent), ...this.workers]) await program.kill();
    await this.#opened.disposeAsync();
    this.dir[Symbol.dispose]();
  }
}
