/**
 * The `Publisher` port: how the cloud's logic sends messages to devices. An MQTT connection implements it, an HTTP API of
 * a broker may, and the simulation does.
 *
 * @module
 */
import type { Channel, FromCloud } from "../../protocol.ts";

/** Who gets a message: one device, all devices of an account, or all devices. */
export type Target = { readonly device: string } | { readonly account: string } | "all";

/** How a message is sent. */
export interface PublishOptions {
  /** Whoever gets it has said that it reads compressed payloads; default false. */
  readonly deflate?: boolean;
}

/** Sends messages to devices, at least once to those connected; what is lost is found by their next sync. */
export interface Publisher {
  /**
   * Resolves when the broker has taken the message over (MQTT: PUBACK), to the bytes that it had, where they are known.
   * Waits while too much is under way.
   *
   * @throws SyncError `unavailable` (retryable) where the broker can't be reached.
   */
  publish(to: Target, message: FromCloud, options?: PublishOptions): Promise<number | void>;
}

/** Who gets a channel's live messages; undefined where the channel's name has no known form. */
export function targetOf(channel: Channel): Target | undefined {
  if (channel === "global") return "all";
  if (channel.startsWith("device:")) return { device: channel.slice("device:".length) };
  if (channel.startsWith("account:")) return { account: channel.slice("account:".length) };
  return undefined;
}
