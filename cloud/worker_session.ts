/**
 * What a worker's two MQTT connections have in common. They are separate, because the receiver stops reading while the service
 * is full, and the PUBACKs for which the service waits must not be stuck after unread data.
 *
 * @module
 */
import type { Outage } from "../protocol/outage.ts";
import type { BrokerConnection } from "../mqtt/session.ts";

/** Options of both connections. */
export interface CloudMqttOptions extends BrokerConnection {
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** Names this worker: its client ids are `<name>/publish` and `<name>/receive`. Default: random, as it must be unique. */
  readonly workerId?: string;
  /** Uniform in [0, 1); default `Math.random`. */
  readonly random?: () => number;
  /**
   * Shared by connections to the same broker: its outage is logged once.
   *
   * @internal
   */
  readonly outage?: Outage;
}

/** A worker's name, if it has none. */
export function randomId(): string {
  return crypto.randomUUID().slice(0, 13);
}

/**
 * The keep-alive of workers' connections. A frozen worker (a stopped process, a lost machine) gets its share of
 * devices' messages until the broker drops it, after one and a half times the keep-alive; and while no worker is back,
 * nobody gets an answer.
 */
export const workerSession = { keepaliveSeconds: 10, retryMaxMs: 2_000 } as const;
