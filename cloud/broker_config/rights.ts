/**
 * What each party may do at a broker, in one place: the embedded broker's rules and the configurations for other
 * brokers are made from it.
 *
 * | party | publishes on | subscribes to, exactly |
 * | --- | --- | --- |
 * | a device | its `up` and `sync`; its `presence`, which alone may be retained or a last will | its `down`, its account's topic, `all` |
 * | an application with an API token to read (embedded broker) | nothing | the topics of notifications: `cloud/broker/readers.ts` |
 * | a worker | everything under the prefix | everything under the prefix, in a share or not |
 *
 * @module
 */
import type { Topics } from "../../protocol.ts";
import type { Identity } from "../../schema/model.ts";

/** Topics, without wildcards. */
export interface DeviceRights {
  readonly publishes: readonly string[];
  /** The only one that may be retained. */
  readonly presence: string;
  readonly subscribes: readonly string[];
}

/** A device's rights. */
export function rightsOf(topic: Topics, { deviceId, accountId }: Identity): DeviceRights {
  const presence = topic.presence(deviceId);
  return {
    publishes: [topic.up(deviceId), topic.sync(deviceId), presence],
    presence,
    subscribes: [topic.down(deviceId), topic.account(accountId), topic.all],
  };
}
