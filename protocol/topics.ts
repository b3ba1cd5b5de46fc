/**
 * Every topic that Twintable uses. A device publishes on `up`, `sync` and `presence` and reads `down`; shared channels
 * are its account's topic and `all`. No other code spells out a topic.
 *
 * | topic | from | carries |
 * | --- | --- | --- |
 * | `tt/d/<device>/up` | device | `up` |
 * | `tt/d/<device>/sync` | device | `sync`, `fetch` |
 * | `tt/d/<device>/presence` | device, broker | presence, retained; the last will |
 * | `tt/d/<device>/down` | cloud | `ack`, pages, items, changes of the device's channel |
 * | `tt/a/<account>`, `tt/all` | cloud | changes of the shared channels |
 * | `tt/notify/<model>` | cloud | changes of a model with `notify: true`, for applications |
 * | `tt/w/…` | workers | among workers: relayed parts, self-tests, the feed |
 *
 * @module
 */
import { ProtocolError } from "./errors.ts";

const idPattern = /^[A-Za-z0-9_.:-]{1,128}$/;

/** What a device publishes on. */
export type DeviceTopicKind = "up" | "sync" | "presence";

/** A topic that was taken apart. */
export type ParsedTopic =
  | { readonly kind: DeviceTopicKind | "down"; readonly deviceId: string }
  | { readonly kind: "account"; readonly accountId: string }
  | { readonly kind: "all" };

/** The topics under one prefix. */
export interface Topics {
  up(deviceId: string): string;
  sync(deviceId: string): string;
  down(deviceId: string): string;
  presence(deviceId: string): string;
  account(accountId: string): string;
  readonly all: string;
  /** Filters for the cloud: every device's `up`, `sync` or `presence`. */
  every(kind: DeviceTopicKind): string;
  /** Where a worker forwards a part that it got by a shared subscription, and the filter that all workers read. */
  relay(deviceId: string, kind: DeviceTopicKind): string;
  readonly everyRelay: string;
  /** Events that workers exchange, for people who watch. */
  readonly feed: string;
  /** Where changes of a model are told, for applications. */
  notify(model: string): string;
  /** A worker's own topic, to test whether a shared subscription delivers. */
  selfTest(workerId: string): string;
}

function checked(kind: string, id: string): string {
  if (!idPattern.test(id)) {
    throw new ProtocolError(`a ${kind} id is 1 to 128 of A-Z a-z 0-9 _ . : -, not ${JSON.stringify(id)}`);
  }
  return id;
}

/**
 * The topics under `prefix` (default `tt`): one or more levels of letters, digits, `_` and `-`. The functions throw
 * `ProtocolError` for an id that could change the topic.
 *
 * @throws {RangeError} for another prefix
 */
export function topics(prefix = "tt"): Topics {
  if (!/^[A-Za-z0-9_-]+(?:\/[A-Za-z0-9_-]+)*$/.test(prefix) || prefix.length > 64) {
    throw new RangeError(
      `a topic prefix is 1 to 64 letters, digits, _ or -, in levels by /, not ${JSON.stringify(prefix)}`,
    );
  }
  const device = (deviceId: string, kind: string) => `${prefix}/d/${checked("device", deviceId)}/${kind}`;
  return {
    up: (deviceId) => device(deviceId, "up"),
    sync: (deviceId) => device(deviceId, "sync"),
    down: (deviceId) => device(deviceId, "down"),
    presence: (deviceId) => device(deviceId, "presence"),
    account: (accountId) => `${prefix}/a/${checked("account", accountId)}`,
    all: `${prefix}/all`,
    every: (kind) => `${prefix}/d/+/${kind}`,
    relay: (deviceId, kind) => `${prefix}/w/part/${checked("device", deviceId)}/${kind}`,
    everyRelay: `${prefix}/w/part/+/+`,
    feed: `${prefix}/w/feed`,
    notify: (model) => `${prefix}/notify/${model}`,
    selfTest: (workerId) => `${prefix}/w/test/${checked("worker", workerId)}`,
  };
}

const deviceKinds: readonly string[] = ["up", "sync", "presence", "down"];

/** Takes a topic apart; undefined if it is not one of ours, or carries an id that no device or account can have. */
export function parseTopic(topic: string, prefix = "tt"): ParsedTopic | undefined {
  if (!topic.startsWith(`${prefix}/`)) return undefined;
  const levels = topic.slice(prefix.length + 1).split("/");
  const [first, id = "", kind = ""] = levels;
  if (first === "all" && levels.length === 1) return { kind: "all" };
  if (!idPattern.test(id)) return undefined;
  if (first === "a" && levels.length === 2) return { kind: "account", accountId: id };
  if (first !== "d" || levels.length !== 3 || !deviceKinds.includes(kind)) return undefined;
  return { kind: kind as DeviceTopicKind | "down", deviceId: id };
}

/** Takes a relayed part's topic apart, as {@link Topics.relay} makes it. */
export function parseRelay(topic: string, prefix = "tt"): { kind: DeviceTopicKind; deviceId: string } | undefined {
  const head = `${prefix}/w/part/`;
  const parsed = topic.startsWith(head) ? parseTopic(`${prefix}/d/${topic.slice(head.length)}`, prefix) : undefined;
  if (!parsed || !("deviceId" in parsed) || parsed.kind === "down") return undefined;
  return { kind: parsed.kind, deviceId: parsed.deviceId };
}
