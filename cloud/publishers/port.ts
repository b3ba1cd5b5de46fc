/**
 * The `Publisher` port: how the cloud's logic sends messages to devices. An MQTT connection implements it, an HTTP API of
 * a broker may, and the simulation does.
 *
 * @module
 */
import type { Channel, FromCloud } from "../../protocol.ts";

/** The receivers of a message: one device, all devices of an account, or all devices. */
export type Target = { readonly device: string } | { readonly account: string } | "all";

/** How a message is sent. */
export interface PublishOptions {
  /** The receiver has said that it reads compressed payloads; default false. */
  readonly deflate?: boolean;
}

/** Sends messages to devices, at least once to those connected; their next sync finds lost messages. */
export interface Publisher {
  /**
   * Resolves when the broker has accepted the message (MQTT: PUBACK), with its size in bytes, if known. Waits while too
   * much is under way.
   *
   * @throws SyncError `unavailable` (retryable) if the broker can't be reached.
   */
  publish(to: Target, message: FromCloud, options?: PublishOptions): Promise<number | void>;
  /**
   * Publishes a payload on any topic, with QoS 1, for `notify` in the schema; absent: it can't. Resolves when the broker has taken
   * it over.
   *
   * @throws SyncError as {@link Publisher.publish}.
   */
  publishRaw?(topic: string, payload: Uint8Array): Promise<void>;
  /**
   * Clears what the broker retains of a device: its last word on whether it is connected. A publisher may lack it.
   *
   * @throws SyncError as {@link publish}
   */
  forget?(deviceId: string): Promise<void>;
}

/** The receivers of a channel's live messages; undefined if the channel's name has no known form. */
export function targetOf(channel: Channel): Target | undefined {
  if (channel === "global") return "all";
  if (channel.startsWith("device:")) return { device: channel.slice("device:".length) };
  if (channel.startsWith("account:")) return { account: channel.slice("account:".length) };
  return undefined;
}
