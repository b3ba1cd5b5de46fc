/**
 * The simulated world: devices, a cloud, a broker that loses, repeats and delays, and virtual time. The production core
 * runs unchanged (`Twin`, `CloudService`, the embedded table); only its ports are simulated. Every message passes the
 * real codec. Whoever acts sets `random` first, so that each action's choices are its own.
 *
 * @module
 */
import { entryKeysMax } from "../../cloud/sync/fan_out.ts";
import type { Target } from "../../cloud/publishers/port.ts";
import type { StreamRecord } from "../../cloud/table/port.ts";
import {
  type Ack,
  type Change,
  Decoder,
  encode,
  type FromCloud,
  type FromDevice,
  ProtocolError,
  type Up,
} from "../../protocol.ts";
import { channelsOf, isExpired, keyOf, SyncError, versionOf } from "../../schema.ts";
import { parseUntagged } from "../../schema/json.ts";
import type { Identity, Model } from "../../schema/model.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { SimCloud } from "./cloud.ts";
import { SimDevice } from "./device.ts";
import { fairlyRefused } from "./fairness.ts";
import { idle } from "./gate.ts";
import { Random } from "./random.ts";
import { type Config, configOf, type ExternalKind, type Setup, startMs } from "./setup.ts";
import type { Trace } from "./trace.ts";
import { cloudItem, type Commit, type Effect, names, oddText, poisonName, writeLocally } from "./workload.ts";

const hourMs = 3_600_000;
/** Values of the unique attribute. */
const uniques = ["u1", "u2"];

/** A violated invariant. */
export class Violation extends Error {}

type Parcel = { readonly to: "cloud" | "device"; readonly device: SimDevice; readonly payloads: Uint8Array[] };

/** What a broker does to messages: those of a topic, or those of more than so many bytes. */
export interface Hush {
  readonly kind: "up" | "sync" | "large up" | "large down" | "damaged";
  readonly bytes: number;
}

function fateOf(
  hush: Hush | undefined,
  to: Parcel["to"],
  type: string,
  bytes: number,
): "swallowed" | "damaged" | undefined {
  if (!hush) return undefined;
  const isLarge = bytes > hush.bytes;
  if (to === "device") {
    if (!isLarge || type === "ack") return undefined;
    return hush.kind === "large down" ? "swallowed" : hush.kind === "damaged" ? "damaged" : undefined;
  }
  if (type !== "up") return hush.kind === "sync" ? "swallowed" : undefined;
  return hush.kind === "up" || (hush.kind === "large up" && isLarge) ? "swallowed" : undefined;
}

/** One change of the table. */
export interface History {
  readonly at: number;
  /** Its place among all commits and changes. */
  readonly order: number;
  readonly old?: Item;
  readonly new?: Item;
  /** Made by a cloud application. */
  readonly raw?: ExternalKind;
  /** The table deleted it by itself: it had expired. */
  readonly swept?: boolean;
}

/** A version as it was first sent. */
export interface Sent {
  readonly device: string;
  readonly change: Change;
  /** The base's attributes, as the device had them. */
  readonly madeFrom?: Attributes;
  /** The latest local commit in it, if any is known. */
  readonly commit?: Commit;
  /** When it was sent first. */
  readonly at: number;
}

/** See the module. */
export class World {
  now = startMs;
  random: Random;
  readonly cloud: SimCloud;
  readonly devices: SimDevice[] = [];
  readonly parcels: Parcel[] = [];
  /** Further copies of messages, on a much slower way. */
  readonly copies: Parcel[] = [];
  readonly commits: Commit[] = [];
  /** Devices whose database went back in time. */
  readonly rolledBack: Set<string> = new Set();
  /** By key text. */
  readonly history: Map<string, History[]> = new Map();
  /** By source, stamp and key. */
  readonly sent: Map<string, Sent> = new Map();
  /** The changes of each batch, by device and id. */
  readonly batches: Map<string, readonly Change[]> = new Map();
  messages = 0;
  /** What the broker swallows or damages, where it does. */
  hush: Hush | undefined;
  /** What workers say to all devices is lost. */
  untold = false;
  /** Until then there is no broker. */
  brokerDownUntilMs = 0;
  /** Counts of what was injected, by kind. */
  readonly injected: Record<string, number> = {};
  /** A violation that was found where nobody could catch it. */
  fault: Violation | undefined;
  readonly publisher = { publish: (to: Target, message: FromCloud) => Promise.resolve(this.#publish(to, message)) };
  #raw: ExternalKind | undefined;
  #values = 0;
  #orders = 0;

  readonly config: Config;

  /** Told of everything that happens, where somebody looks. */
  trace: Trace | undefined;

  constructor(seed: number, setup: Setup, readonly folder: string) {
    const config = this.config = configOf(setup);
    this.random = new Random(seed);
    this.cloud = new SimCloud(this, { ...config, schema: config.cloudSchema });
    for (let i = 0; i < config.devices + config.clones; i++) {
      const isClone = i >= config.devices;
      const identity = { deviceId: `D${isClone ? 0 : i}`, accountId: "A" };
      const skewMs = config.skewsMs[i % config.skewsMs.length]!;
      this.devices.push(
        new SimDevice(
          this,
          isClone ? `D0~${i}` : `D${i}`,
          config.newer?.devices[i % config.newer.devices.length] ? config.newerSchema : config.schema,
          identity,
          skewMs,
          folder,
          { batchChangesMax: config.batchChangesMax, ...(config.silent ? { unansweredMax: 2 } : {}) },
        ),
      );
    }
    for (const device of this.devices) {
      device.gathers = setup.gathers ?? false;
      device.connect();
    }
  }

  changed(record: StreamRecord): void {
    this.trace?.changed(record);
    const key = record.key.join("|"), list = this.history.get(key) ?? [];
    const { old, new: item, expired: swept } = record;
    list.push({ at: this.now, order: ++this.#orders, old, new: item, raw: this.#raw, swept });
    this.history.set(key, list);
  }

  misread(): void {
    this.count("read that fails");
  }

  failed(what: string): void {
    this.fault ??= new Violation(what);
  }

  count(what: string): void {
    this.injected[what] = (this.injected[what] ?? 0) + 1;
  }

  // ---- the broker -----------------------------------------------------------------------------------------------------

  #post(to: Parcel["to"], device: SimDevice, message: FromCloud | FromDevice): void {
    this.messages++;
    const parcel: Parcel = { to, device, payloads: encode(message) };
    if (this.config.silent) {
      const bytes = parcel.payloads.reduce((sum, { length }) => sum + length, 0);
      const fate = fateOf(this.hush, to, message.type, bytes);
      if (fate === "swallowed") return this.count("message swallowed");
      if (fate === "damaged") {
        this.count("message damaged");
        parcel.payloads[0] = parcel.payloads[0]!.subarray(0, -1);
      }
    }
    this.parcels.push(parcel);
    if (this.config.copies > 0 && this.random.chance(this.config.copies)) this.copies.push(parcel);
  }

  /** A device sends. */
  up(device: SimDevice, message: FromDevice): void {
    if (message.type === "up") {
      this.batches.set(`${device.name} ${message.batch}`, message.changes);
      for (const change of message.changes) this.#noteSent(device, message.batch, change);
    }
    // Where only the cloud refuses some values, devices that said their schema would wait for one that takes them.
    const { schemas: _, ...silent } = message as Up;
    this.#post("cloud", device, message.type === "up" && this.config.refusing ? silent : message);
  }

  #noteSent(device: SimDevice, batch: string, change: Change): void {
    const attributes = change.item ?? change.key!;
    const model = this.config.schema.models.get(change.model)!;
    const key = this.keyText(device.identity, model, String(attributes.name));
    const source = `${device.identity.deviceId}#${batch.slice(0, batch.lastIndexOf("/"))}`;
    const version = `${source} ${change.stamp} ${key}`;
    const before = this.sent.get(version);
    if (before) {
      // What is offered to a restored table has the version that it had; what it is made from is another thing.
      const told = (c: Change) => JSON.stringify(this.restored ? c.item : c);
      const same = told(before.change) === told(change) || this.#stoodBefore(key, change);
      if (!same) {
        this.failed(`§1 ${version} was sent as ${JSON.stringify(before.change)}, then ${JSON.stringify(change)}`);
      }
      // What it is written onto is what it was sent with last.
      if (this.restored) this.sent.set(version, { ...before, change });
      return;
    }
    const own = this.commits.filter((c) => c.device === device.name && c.key === key && !c.forgotten);
    const commit = own.at(-1);
    const madeFrom = device.twin.context.inFlight.batches.get(batch)?.flights.find((f) => f.change === change)?.base;
    this.sent.set(version, { device: device.name, change, madeFrom, commit, at: this.now });
  }

  /** The table before a restore had it so: somebody had altered the item and left its version. */
  #stoodBefore(key: string, { item }: Change): boolean {
    return this.before.get(key)?.some((h) => h.new?.v === item?.v && h.new?.w === item?.w) ?? false;
  }

  /** A device's own schema has the attribute that the version before lacks. */
  knowsX({ schema }: SimDevice): boolean {
    return schema === this.config.newerSchema;
  }

  jumpLost({ name }: SimDevice): void {
    for (const commit of this.commits) if (commit.device === name) commit.undated = true;
  }

  get brokerIsDown(): boolean {
    return this.now < this.brokerDownUntilMs;
  }

  /** The broker is gone for so long, with all that it had; the devices notice. */
  restartBroker(downMs: number): void {
    this.parcels.length = 0;
    this.brokerDownUntilMs = this.now + downMs;
    for (const device of this.devices) device.disconnect();
    if (downMs === 0) { for (const device of this.devices) device.connect(); }
  }

  #publish(to: Target, message: FromCloud): void {
    if (this.brokerIsDown) {
      throw new SyncError("unavailable", "the broker is away", { retryable: true });
    }
    // A worker that starts, or begins an epoch, says so with a message of no entry.
    if (this.untold && message.type === "changes" && message.seq === 0) return;
    this.#checkSize(message);
    for (const device of this.devices) {
      const { deviceId, accountId } = device.identity;
      const concerned = to === "all" || ("device" in to ? to.device === deviceId : to.account === accountId);
      if (!concerned) continue;
      this.#checkIsolation(device, message);
      if (this.config.prompt && message.type === "ack") fairlyRefused(this, device, message);
      if (this.config.expiring && message.type === "ack") this.#checkDead(device, message);
      if (this.config.usurped && message.type === "snapshot") this.#noteLeftLog(device, message.channel);
      if (device.online) this.#post("device", device, message);
    }
  }

  /** Devices that a snapshot took over entries of a log that told of overwritings and removals. */
  readonly leftLog: Set<string> = new Set();

  #noteLeftLog({ name, store }: SimDevice, channel: string): void {
    const cursor = store.db.sql("SELECT seq FROM _sync_channels WHERE channel = ?").get(channel)?.seq;
    if (cursor != null) this.leftLog.add(name);
  }

  /** A1: no living row has to yield to an older copy that has expired. */
  #checkDead(device: SimDevice, { batch, answers }: Ack): void {
    const changes = this.batches.get(`${device.name} ${batch}`) ?? [];
    for (const { at, code, current } of answers) {
      const change = changes[at], model = change && this.config.schema.models.get(change.model);
      if (code !== "stale" || !current || !model) continue;
      // It had expired already when the change was sent: it may expire between the look at it and the answer.
      const source = `${device.identity.deviceId}#${batch.slice(0, batch.lastIndexOf("/"))}`;
      const key = this.keyText(device.identity, model, String((change.item ?? change.key!).name));
      const sentMs = this.sent.get(`${source} ${change.stamp} ${key}`)?.at;
      if (sentMs === undefined || !isExpired(model, current.item, sentMs)) continue;
      if (!change.item || isExpired(model, change.item, this.now)) continue;
      if (current.version && current.version[1] >= change.stamp) continue;
      this.failed(`A1 ${device.name}: ${JSON.stringify(change)} yields to an expired ${JSON.stringify(current)}`);
    }
  }

  /** I5: a page holds so many items, or one entry of the log. */
  #checkSize(message: FromCloud): void {
    const list = message.type === "snapshot" || message.type === "page" ? message.entries : [];
    const most = Math.max(this.config.batchChangesMax, entryKeysMax);
    if (list.length > most) this.failed(`I5 a message of ${list.length} items, where ${most} are the most`);
  }

  /** I4: nothing about another device's keys may reach a device, except that a key it asked for does not exist. */
  #checkIsolation(device: SimDevice, message: FromCloud): void {
    const text = JSON.stringify(message);
    const own = [`device:${device.identity.deviceId}`, `account:${device.identity.accountId}`, "global"];
    if ("channel" in message && !own.includes(message.channel)) this.failed(`I4 ${device.name} was sent ${text}`);
    for (const { identity } of this.devices) {
      if (identity.deviceId === device.identity.deviceId) continue;
      if (
        text.includes(`"deviceId":"${identity.deviceId}"`) ||
        ("channel" in message && text.includes(`d#${identity.deviceId}"`))
      ) {
        this.failed(`I4 ${device.name} was sent ${text}`);
      }
    }
  }

  /** Delivers a parcel; with `keep` it will come once more. */
  async deliver(index: number, keep = false): Promise<void> {
    const { to, device, payloads } = keep ? this.parcels[index]! : this.parcels.splice(index, 1)[0]!;
    this.trace?.delivered(to, device, payloads[0]!);
    const decoder = new Decoder({ now: () => this.now });
    if (to === "device") { for (const payload of payloads) this.#receive(device, decoder, payload); }
    else for (const payload of payloads) this.#arrive(device, decoder.accept(payload, "up")!);
    await idle();
  }

  #receive(device: SimDevice, decoder: Decoder, payload: Uint8Array): void {
    try {
      device.receive(decoder.accept(payload, "down")!);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      device.receiveUnreadable(error);
    }
  }

  /** What the broker does from now on. */
  changeHush(): void {
    const { random } = this, bytes = random.pick([300, 600, 1200]);
    const kind = random.pick(
      [undefined, undefined, "up", "sync", "large up", "large down", "large down", "damaged"] as const,
    );
    this.hush = kind && { kind, bytes };
    if (kind) this.count(`silence: ${kind}`);
  }

  /** A message reaches the cloud, which can't read some: of a real one the decoder says so, and whose batch it is. */
  #arrive({ identity: { deviceId } }: SimDevice, message: FromDevice): void {
    const isPoison = ({ item }: Change) => String(item?.w).startsWith("bad");
    if (this.config.poisoned && message.type === "up" && message.changes.some(isPoison)) {
      this.count("batch that can't be read");
      this.cloud.refuse(deviceId, message.batch);
    } else this.cloud.receive(deviceId, message);
  }

  /** Time passes; each device's process looks at its clock after a second, as it does all the time. */
  pass(ms: number): void {
    const first = Math.min(ms, 1001);
    this.now += first;
    if (ms === first) return;
    for (const device of this.devices) device.tick();
    this.now += ms - first;
  }

  drop(index: number): void {
    this.parcels.splice(index, 1);
  }

  async step(index: number): Promise<void> {
    this.cloud.gate.step(index);
    await idle();
  }

  async readStream(most: number): Promise<void> {
    if (this.cloud.readStream(most)) await idle();
  }

  /** A device that was taken over asks for, and writes, what is not its own. */
  forge(device: SimDevice): void {
    const { random, config } = this;
    const victim = random.pick(this.devices).identity,
      model = random.pick(config.models),
      name = random.pick(config.names);
    const item = { name, v: -1, ...(model.scope === "global" ? {} : { deviceId: victim.deviceId, accountId: "B" }) };
    const id = `forged${random.below(1e9)}/1`;
    const messages: FromDevice[] = [
      {
        type: "sync",
        request: id,
        channels: [...channelsOf(config.schema, victim), "account:B"].map((channel) => ({ channel })),
      },
      { type: "fetch", request: id, keys: [keyOf(config.schema, cloudItem(config.schema, model, victim, { name }))] },
      {
        type: "up",
        batch: id,
        sent: this.now,
        changes: [{ model: model.name, op: "create", item, stamp: this.now * 1000 + 999 }],
      },
    ];
    const chosen = random.pick(victim.deviceId === device.identity.deviceId ? messages.slice(0, 2) : messages);
    this.#post("cloud", device, chosen);
  }

  // ---- applications ---------------------------------------------------------------------------------------------------

  keyText(identity: Identity, model: Model, name: string): string {
    return keyOf(this.config.schema, cloudItem(this.config.schema, model, identity, { name })).join("|");
  }

  local(device: SimDevice): void {
    const models = this.config.models.filter((m) => m.sync !== "down");
    if (models.length === 0) return;
    const model = this.random.pick(models);
    this.#writeOdd(device, model);
    this.committed(
      device,
      model,
      writeLocally(device, model, ++this.#values, this.random, { ...this.config, knowsX: this.knowsX(device) }),
      this.config.expiring,
    );
    if (this.config.unique) this.#giveUnique(device, model);
  }

  /** An application gives some row a value that another one may have: then SQLite refuses it. */
  #giveUnique(device: SimDevice, model: Model): void {
    const { random, config } = this, name = random.pick(config.names), u = random.pick([null, ...uniques]);
    if (random.chance(0.4)) return;
    try {
      device.write(model, (db) => db.sql(`UPDATE "${model.name}" SET u = ? WHERE name = ?`).run(u, name));
    } catch (error) {
      if (!/UNIQUE constraint/.test(String(error))) throw error;
      return this.count("unique value refused");
    }
    this.committed(device, model, [{ name, set: {}, whole: false, removed: false }]);
  }

  /** A cloud application gives each item a value of its own: nothing stands in another's way any more. */
  async unclash(): Promise<void> {
    for (const [key, item] of await this.cloud.items()) {
      const model = this.cloud.modelOf(item);
      if (!model || item.u === undefined) continue;
      this.#raw = "bump";
      const updated: Item = model.updatedField ? { updated: new Date(this.now).toISOString() } : {};
      await this.cloud.put({ ...item, ...updated, u: `of ${key}` });
      this.#raw = undefined;
    }
  }

  /** Rows that were written get an expiry time, or another one. */
  #giveExpiry(device: SimDevice, model: Model, effects: readonly Effect[]): Effect[] {
    const { random } = this;
    return effects.filter(({ removed }) => !removed && random.chance(0.7)).map(({ name }): Effect => {
      const ms = random.pick([60_000, hourMs, hourMs, 100 * hourMs]);
      const at = new Date(this.now + ms).toISOString();
      device.write(model, (db) => db.sql(`UPDATE "${model.name}" SET expires = ? WHERE name = ?`).run(at, name));
      return { name, set: {}, whole: false, removed: false };
    });
  }

  /** The cloud's table deletes what has expired: one item, or all. Returns whether there was any. */
  async sweep(all: boolean): Promise<boolean> {
    const expired = [...await this.cloud.items()].filter(([, item]) => this.isExpired(item, this.now)).map(([, i]) =>
      i
    );
    const chosen = all || expired.length === 0 ? expired : [this.random.pick(expired)];
    for (const item of chosen) await this.cloud.sweep(keyOf(this.config.schema, item));
    return chosen.length > 0;
  }

  /** A secondary index misses an item from now on, or shows all again. */
  async hide(): Promise<boolean> {
    const { hidden } = this.cloud, keys = [...(await this.cloud.items()).keys()];
    if (keys.length === 0 || this.random.chance(0.3)) {
      hidden.clear();
      return false;
    }
    hidden.add(this.random.pick(keys));
    return true;
  }

  /** Whether an item's time has come. */
  isExpired(item: Item, atMs: number): boolean {
    const model = this.cloud.modelOf(item);
    return model !== undefined && isExpired(model, item, atMs);
  }

  /** An application writes an odd object into a row; what becomes of it the rows and items tell at the end. */
  #writeOdd(device: SimDevice, model: Model): void {
    if (!this.config.odd || this.random.chance(0.4)) return;
    const text = oddText(this.random, ++this.#values), name = this.random.pick(this.config.names);
    const sql = `UPDATE "${model.name}" SET o = ? WHERE name = ?`;
    device.write(model, (db) => db.sql(sql).run(text, name));
  }

  /** The same of a cloud application. */
  #oddItem(): Item {
    if (!this.config.odd || this.random.chance(0.3)) return {};
    const o = parseUntagged(oddText(this.random, ++this.#values));
    // Kinds that only DynamoDB has.
    return { o: this.random.chance(0.2) ? { set: { $ss: ["a", "b"] }, raw: { $b: "AAEC" }, o } : o };
  }

  /** Notes a local commit, which is to be accounted for. */
  committed(device: SimDevice, model: Model, effects: readonly Effect[], expiring = false): void {
    this.trace?.committed(device, model.name, effects);
    const order = ++this.#orders;
    for (const effect of effects) {
      const key = this.keyText(device.identity, model, effect.name);
      const undated = device.hasDrifted || undefined;
      const unknown = this.config.expiring && effect.removed && this.#isUnknown(device, model, key) || undefined;
      const made = { device: device.name, key, model, order, at: this.now, forgotten: false, undated, unknown };
      this.commits.push({ ...effect, ...made });
    }
    if (!expiring) return;
    const given = this.#giveExpiry(device, model, effects);
    if (given.length > 0) this.committed(device, model, given);
  }

  /** To the device the table has no such item any more: it has no base, or one that has expired. */
  #isUnknown({ twin: { context } }: SimDevice, model: Model, key: string): boolean {
    const base = context.records.get(key.split("|") as [string, string])?.base;
    return base === undefined || isExpired(model, base, this.now);
  }

  /** A cloud application puts an item where the device has its own, raw. */
  async put({ identity }: SimDevice, model: Model, attributes: Item): Promise<void> {
    this.#raw = "put";
    await this.cloud.put(cloudItem(this.config.schema, model, identity, attributes, this.now));
    this.#raw = undefined;
  }

  /** An application on the device gives the first row a value, whether there is such a row or not. */
  setLocally(device: SimDevice, model: Model, v: number): void {
    const [name] = names, expiry = this.config.expiring ? ", expires = NULL" : "";
    const upsert =
      `INSERT INTO "${model.name}"(name, v) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET v = excluded.v${expiry}`;
    device.write(model, (db) => db.sql(upsert).run(name, v));
    this.committed(device, model, [{ name, set: { v }, whole: false, removed: false }]);
    device.pump();
  }

  /** A cloud application writes, raw: past every worker, at once. */
  async external(): Promise<void> {
    const { config, random, cloud } = this;
    const device = random.pick(this.devices), model = random.pick(config.models), name = random.pick(config.names);
    let kind = random.pick(config.external);
    const value = ++this.#values;
    const key = keyOf(config.schema, cloudItem(config.schema, model, device.identity, { name }));
    const old = await cloud.get(key);
    if (kind === "delete" && !old) return;
    if (!old && (kind === "update" || kind === "bump")) kind = "put";
    const u: Item = config.unique && random.chance(0.6) ? { u: random.pick(uniques) } : {};
    const set: Item = { ...u, ...(random.chance(0.7) ? { v: value } : { w: `w${value}` }), ...this.#oddItem() };
    const updatedMs = kind === "future" ? this.now + 48 * 3_600_000 : this.now;
    const unknown = random.chance(0.5) ? { x: `x${value}` } : undefined;
    const expiry = config.expiring && random.chance(0.8)
      ? { expires: Math.ceil((this.now + random.pick([60_000, hourMs, hourMs, 100 * hourMs])) / 1000) }
      : undefined;
    const fresh = (ms: number) =>
      cloudItem(config.schema, model, device.identity, { name, v: value, ...unknown, ...expiry, ...u }, ms);
    this.#raw = kind;
    if (kind === "delete") await cloud.delete(key);
    else if (kind === "stamped") {
      await cloud.put({ ...fresh(this.now), _source: "cloud#1", _stamp: this.#foreignStamp() });
    } else if (kind === "put" || !old || (kind === "future" && random.chance(0.3))) {
      await cloud.put(fresh(updatedMs));
    } else {
      const item: Item = { ...old!, ...set, ...expiry };
      const bumps = kind !== "update" && model.updatedField !== undefined;
      await cloud.put(bumps ? { ...item, updated: new Date(updatedMs).toISOString() } : item);
    }
    this.#raw = undefined;
  }

  /**
   * Somebody who writes no version overwrites what a device wrote, or removes what stands there instead; mostly both. Now and
   * then it has a version that is earlier than the one it replaces.
   */
  async usurp(): Promise<void> {
    const { random, cloud } = this;
    const items = [...await cloud.items()].filter(([, item]) => cloud.modelOf(item));
    if (items.length === 0) return;
    const [text, old] = random.pick(items), key = text.split("|") as [string, string];
    const version = versionOf(old), value = ++this.#values, model = cloud.modelOf(old)!;
    const { _source, _stamp, w: _, ...kept } = old;
    if (version) {
      this.count("version overwritten by none");
      const isEarlier = random.chance(0.2);
      const earlier: Item = isEarlier ? { _source: "cloud#1", _stamp: version[1] - 1 - random.below(5_000_000) } : {};
      const updated: Item = model.updatedField ? { updated: new Date(this.now).toISOString() } : {};
      this.#raw = isEarlier ? "stamped" : "put";
      await cloud.put({ ...kept, ...updated, v: value, ...earlier });
    }
    if (!version || random.chance(0.5)) {
      this.count("item without a version removed");
      this.#raw = "delete";
      await cloud.delete(key);
    }
    this.#raw = undefined;
  }

  /** Now, or so far ahead that nothing newer can be written for a while, or so far that it counts as none. */
  #foreignStamp(): number {
    return (this.now + this.random.pick([0, 0, 90_000, 200_000])) * 1000 + this.#values % 1000;
  }

  /** Somebody puts an item that no device can take. */
  async poison(): Promise<void> {
    const { config, random, cloud } = this;
    const { identity } = random.pick(this.devices), model = random.pick(config.models);
    const good = cloudItem(config.schema, model, identity, { name: poisonName, v: ++this.#values });
    const bad: Item[] = [{ v: "text" }, { name: "a" }, { v: { $n: "12345678901234567890123" }, w: 7 }, {
      _type: "Nobody",
    }];
    this.#raw = "put";
    await cloud.put({ ...good, ...random.pick(bad) });
    this.#raw = undefined;
  }

  /** A device starts with the other version of the schema, or the cloud's next workers do. */
  changeVersion(device: SimDevice): void {
    const { newerSchema, schema } = this.config;
    if (this.random.chance(0.4)) {
      this.count("schema of the cloud changed");
      return this.cloud.changeVersion();
    }
    this.count("schema of a device changed");
    device.upgrade(device.schema === newerSchema ? schema : newerSchema, true);
    device.connect();
  }

  /** In the end everybody has the newest version: what waits for it goes. */
  allNewest(): void {
    this.cloud.allNewest();
    for (const device of this.devices) {
      if (device.schema !== this.config.newerSchema) device.upgrade(this.config.newerSchema, true);
      device.connect();
    }
  }

  /** A device starts with the next version of the schema, or the cloud's next workers do. */
  upgrade(device: SimDevice): void {
    const { newerSchema, newer } = this.config;
    if (!newer) return;
    if (this.random.chance(0.3)) {
      if (this.cloud.upgrade()) this.count("schema of the cloud upgraded");
    } else if (device.schema !== newerSchema) {
      this.count("schema of a device upgraded");
      device.upgrade(newerSchema);
      device.connect();
    }
  }

  /** Values that were in the table, and on some device's rows, when it went back: they must come back, or be accounted for. */
  readonly lost: {
    key: string;
    field: "v" | "w";
    value: number | string;
    devices: string[];
    order: number;
    item: Item;
  }[] = [];
  restored = false;

  async restore(): Promise<void> {
    const went = await this.cloud.restore();
    if (!went) return;
    this.count("table restored");
    this.restored = true;
    for (const [key, item] of went.present) {
      const was = went.items.get(key);
      for (const field of ["v", "w"] as const) {
        const value = item[field] as number | string | undefined;
        if (value === undefined || was?.[field] === value) continue;
        const name = String(item.name), model = String(item._type);
        const devices = this.devices.filter((d) =>
          this.keyText(d.identity, this.config.schema.models.get(model)!, name) === key &&
          this.#has(d, model, name, key, field, value)
        ).map((d) => d.name);
        if (devices.length > 0) this.lost.push({ key, field, value, devices, order: ++this.#orders, item });
      }
    }
    // What was written before is in no table any more: the order of what follows begins anew.
    for (const [key, list] of this.history) this.before.set(key, [...(this.before.get(key) ?? []), ...list]);
    this.history.clear();
  }

  /** A row has the value, or an item that waits beside its table. */
  #has(
    { store: { db } }: SimDevice,
    model: string,
    name: string,
    key: string,
    field: "v" | "w",
    value: string | number,
  ) {
    const row = db.sql(`SELECT 1 FROM "${model}" WHERE name = ? AND ${field} = ?`).get(name, value);
    const aside = "SELECT 1 FROM _sync_aside WHERE hash || '|' || sort = ? AND item ->> ? = ?";
    return row !== undefined || db.sql(aside).get(key, field, value) !== undefined;
  }

  /** The changes of tables that are no more. */
  readonly before: Map<string, History[]> = new Map();

  /** A device gets a new database. */
  reset(device: SimDevice): void {
    this.rolledBack.add(device.name);
    for (const c of this.commits) if (c.device === device.name) c.forgotten = true;
    device.reset();
  }

  copy(device: SimDevice): void {
    device.copy(this.#orders);
  }

  /** Back to some copy, or to the last; returns whether there was one. */
  powerLoss(device: SimDevice, last = false): boolean {
    const order = device.rollBack(last ? 1 - Number.EPSILON : this.random.next());
    if (order === undefined) return false;
    this.rolledBack.add(device.name);
    for (const c of this.commits) if (c.device === device.name && c.order > order) c.forgotten = true;
    return true;
  }

  async close(): Promise<void> {
    for (const device of this.devices) device.close();
    await this.cloud.close();
  }
}
