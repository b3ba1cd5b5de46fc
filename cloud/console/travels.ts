/**
 * Changes between the devices of `dev` and the cloud, for the Twin page: the last changes and how far each got, and the
 * three steps of a newcomer's first minute, which are ticked by real events.
 *
 *     up:    written on the device ─▶ sent ─▶ in the cloud   (by the stream's record, its stamp, and the device's batch)
 *     down:  saved in the cloud ─▶ logged ─▶ on the device   (by the record, the feed, and what the device applied)
 *     lost: both sides changed it: the losing version is stored (in the device's conflicts)
 *
 * @module
 */
import { deviceOf } from "../../protocol/versions.ts";
import type { StreamRecord } from "../table/port.ts";
import { keyText } from "../../protocol/keys.ts";
import type { Key } from "../../protocol.ts";
import { idOfItem, modelOf, type Schema, toPlain, versionOf } from "../../schema.ts";
import type { Item } from "../../schema/values.ts";
import { comesDown } from "../../schema/direction.ts";
import type { EventHub } from "./event_hub.ts";
import type { DynamoName } from "./lines.ts";
import type { LocalConflict, LocalDevice, PlainItem } from "./local_device.ts";

/** A change on its way. */
export interface Travel {
  readonly id: number;
  readonly kind: "up" | "down" | "lost";
  readonly device: string;
  readonly model: string;
  readonly key: string;
  readonly atMs: number;
  /** What was there before; of a version that lost: the one that won. */
  readonly old?: PlainItem;
  readonly now?: PlainItem;
  /** Of a version that lost: its number in the device's `_conflicts`. */
  readonly conflict?: number;
  /** Of one that goes up: the version's stamp, by which its batch names it. */
  readonly stamp?: number;
  /** For one that goes up: ms until the device sent it. */
  sentMs?: number;
  /** For one that goes down: ms until it was in its channel's log. */
  loggedMs?: number;
  /** For one that goes down: the device's own newer change came first, so it will not arrive. */
  overtaken?: true;
  /** ms until it was on the other side; absent: it is on its way. */
  arrivedMs?: number;
}

/** A step of the first minute: how long its change took, once it is done. */
export interface Steps {
  readonly left?: number;
  readonly right?: number;
  readonly both?: "unplugged" | "done";
}

const travelsMax = 60;
/** Rows among which the version that won is looked for. */
const rowsMax = 100;
/** Changes that were sent, and whose record has not come yet. */
const sentMax = 500;

/** See the module. */
export class Travels {
  readonly #schema: Schema;
  readonly #now: () => number;
  readonly #quiet: ReadonlySet<string>;
  readonly #travels: Travel[] = [];
  readonly #steps = new Map<string, Steps>();
  readonly #unplugged = new Map<string, { up: boolean; down: boolean; conflicts: number }>();
  readonly #conflicts = new Map<string, number>();
  /** By device, how many changes travelled. */
  readonly #counts = new Map<string, number>();
  /** By stamp, when a device sent the change. */
  readonly #sent = new Map<number, number>();
  readonly #releases: (() => void)[] = [];
  #hub: EventHub | undefined;
  #watching = false;
  #id = 0;

  /** @param options `quiet` models change too often to be shown one by one */
  constructor(options: {
    schema: Schema;
    devices: readonly LocalDevice[];
    now: () => number;
    quiet: ReadonlySet<string>;
    dynamo?: DynamoName;
  }) {
    this.#schema = options.schema;
    this.#now = options.now;
    this.#quiet = options.quiet;
    this.devices = options.devices;
    this.dynamo = options.dynamo;
  }

  readonly devices: readonly LocalDevice[];
  /** Where the table is, if it is DynamoDB's: for lines to paste. */
  readonly dynamo: DynamoName | undefined;

  get quiet(): ReadonlySet<string> {
    return this.#quiet;
  }

  /** The last changes of a device, newest first. */
  of(deviceId: string): readonly Travel[] {
    return this.#travels.filter(({ device }) => device === deviceId).toReversed();
  }

  /** How many changes of a device travelled since the page was first opened. */
  travelled(deviceId: string): number {
    return this.#counts.get(deviceId) ?? 0;
  }

  steps(deviceId: string): Steps {
    return this.#steps.get(deviceId) ?? {};
  }

  /** The page was opened: from now on, events count as a person's actions. */
  watch(hub: EventHub): void {
    if (this.#watching) return;
    this.#watching = true;
    this.#hub = hub;
    for (const device of this.devices) {
      this.#conflicts.set(device.deviceId, device.conflicts(0).at(-1)?.id ?? 0);
      this.#releases.push(device.watch(() => this.#changed(device)));
    }
  }

  close(): void {
    for (const release of this.#releases.splice(0)) release();
  }

  /** A record of the table's stream. */
  record(record: StreamRecord): void {
    if (!this.#watching || record.expired) return;
    const image = record.new ?? record.old, model = image && modelOf(this.#schema, image);
    if (!model || this.#quiet.has(model.name)) return;
    const writer = this.#writerOf(record),
      plain = (item: Item | undefined) => item && toPlain(this.#schema, model, item);
    const about = { model: model.name, key: keyText(record.key), old: plain(record.old), now: plain(record.new) };
    for (const { deviceId, accountId } of this.devices) {
      const isOwn = writer?.device === deviceId;
      if (isOwn) {
        const sentMs = this.#sent.get(writer.stamp);
        this.#add({
          ...about,
          ...{ kind: "up", device: deviceId, atMs: writer.atMs, stamp: writer.stamp },
          arrivedMs: Math.max(0, this.#now() - writer.atMs),
          ...(sentMs === undefined ? {} : { sentMs: Math.max(0, sentMs - writer.atMs) }),
        });
        this.#step(deviceId, { left: Math.max(0, this.#now() - writer.atMs) });
      } else if (comesDown(model)) {
        const owner = { device: idOfItem(model, image, "deviceId"), account: idOfItem(model, image, "accountId") };
        const isIts = model.scope === "device"
          ? owner.device === deviceId
          : model.scope === "account"
          ? owner.account === accountId
          : true;
        if (!isIts) continue;
        this.#add({ ...about, kind: "down", device: deviceId, atMs: record.atMs ?? this.#now() });
        const unplugged = this.#unplugged.get(deviceId);
        if (unplugged) unplugged.down = true;
      }
      this.#tell(deviceId);
    }
  }

  /** A device's batch with the changes of these stamps was answered; it had sent it at this time. */
  sent(deviceId: string, sentAtMs: number, stamps: readonly number[]): void {
    if (!this.#watching) return;
    for (const stamp of stamps) {
      const travel = this.#travels.find((one) => one.device === deviceId && one.stamp === stamp);
      if (travel) travel.sentMs ??= Math.max(0, sentAtMs - travel.atMs);
      else this.#sent.set(stamp, sentAtMs);
    }
    while (this.#sent.size > sentMax) this.#sent.delete(this.#sent.keys().next().value!);
    this.#tell(deviceId);
  }

  /** Changes of these keys are in a channel's log. */
  logged(keys: readonly Key[]): void {
    const wanted = new Set(keys.map(keyText));
    for (const travel of this.#travels) {
      if (travel.kind !== "down" || travel.loggedMs !== undefined || !wanted.has(travel.key)) continue;
      travel.loggedMs = Math.max(0, this.#now() - travel.atMs);
      this.#tell(travel.device);
    }
  }

  /** A device has applied a change from the cloud. */
  applied(deviceId: string, key: Key): void {
    const text = keyText(key);
    const arrived = this.#travels.filter((one) =>
      one.kind === "down" && one.device === deviceId && one.key === text && one.arrivedMs === undefined
    );
    for (const travel of arrived) {
      travel.arrivedMs = Math.max(0, this.#now() - travel.atMs);
      // An entry that a device has is in the log, even if the feed reports that later.
      travel.loggedMs ??= travel.arrivedMs;
    }
    const last = arrived.at(-1);
    if (last) this.#step(deviceId, { right: last.arrivedMs });
    this.#tell(deviceId);
  }

  /** Its link was cut, or is there again. */
  plugged(device: LocalDevice, isPlugged: boolean): void {
    const { deviceId } = device;
    if (!isPlugged) {
      this.#unplugged.set(deviceId, { up: false, down: false, conflicts: device.status().conflicts });
      if (this.steps(deviceId).both === undefined) this.#step(deviceId, { both: "unplugged" });
    }
    this.#tell(deviceId);
  }

  #changed(device: LocalDevice): void {
    const { deviceId } = device, status = device.status(), unplugged = this.#unplugged.get(deviceId);
    for (const conflict of device.conflicts(this.#conflicts.get(deviceId) ?? 0)) this.#lost(device, conflict);
    if (unplugged) {
      if (status.pausedMs !== undefined && status.outbox > 0) unplugged.up = true;
      const waits = this.#travels.some(({ kind, device, arrivedMs, overtaken }) =>
        kind === "down" && device === deviceId && arrivedMs === undefined && !overtaken
      );
      if (status.pausedMs === undefined && status.connected && status.outbox === 0 && !waits) {
        this.#unplugged.delete(deviceId);
        if (unplugged.up && unplugged.down) this.#step(deviceId, { both: "done" });
        else if (this.steps(deviceId).both === "unplugged") this.#step(deviceId, { both: undefined });
      }
    }
    this.#tell(deviceId);
  }

  #lost(localDevice: LocalDevice, { id, model, atMs, item }: LocalConflict): void {
    const { deviceId } = localDevice;
    this.#conflicts.set(deviceId, id);
    const names = keyNames(this.#schema, model), keyOf = (one: PlainItem) => names.map((name) => one[name]).join(" ");
    const key = item ? keyOf(item) : "";
    const won = localDevice.items(model, rowsMax).items.find((one) => keyOf(one) === key);
    this.#add({ kind: "lost", device: deviceId, model, key, atMs, old: won, now: item, conflict: id, arrivedMs: 0 });
    // What lost may be a change on its way down: it will not arrive.
    for (const travel of this.#travels) {
      const image = travel.now ?? travel.old;
      if (travel.kind !== "down" || travel.device !== deviceId || travel.model !== model || !image) continue;
      if (travel.arrivedMs === undefined && keyOf(image) === key) travel.overtaken = true;
    }
  }

  #writerOf(record: StreamRecord): { device: string; atMs: number; stamp: number } | undefined {
    if (!record.new) return undefined;
    const version = versionOf(record.new), before = record.old && versionOf(record.old);
    // An unchanged version names the previous writer: a program that does not know versions wrote the item.
    return version && version[1] !== before?.[1]
      ? { device: deviceOf(version) ?? version[0], atMs: version[1] / 1000, stamp: version[1] }
      : undefined;
  }

  #add(travel: Omit<Travel, "id">): void {
    this.#travels.push({ ...travel, id: ++this.#id });
    this.#counts.set(travel.device, (this.#counts.get(travel.device) ?? 0) + 1);
    if (this.#travels.length > travelsMax) this.#travels.shift();
  }

  #step(deviceId: string, step: Steps): void {
    this.#steps.set(deviceId, { ...this.steps(deviceId), ...step });
  }

  #tell(deviceId: string): void {
    this.#hub?.publish({ name: "twin", topic: `twin:${deviceId}`, data: { travelled: this.travelled(deviceId) } });
  }
}

/** The properties that identify a model's items of one device. */
export function keyNames(schema: Schema, model: string): readonly string[] {
  return schema.models.get(model)?.keyFields ?? [];
}
