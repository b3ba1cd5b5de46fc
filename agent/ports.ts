/**
 * The ports of the agent's sync logic: a transport and a clock. The shell supplies MQTT and the machine's clocks, the
 * simulation its own.
 *
 * @module
 */
import type { DeviceReport, FromCloud, FromDevice } from "../protocol.ts";

/** The events of a transport. Calls never overlap. */
export interface TransportHandlers {
  /** The link is up and subscribed to every topic of this device: from now on, no message is missed silently. */
  connected(): void;
  /** The connection is lost, or could not be made. */
  disconnected(reason: string): void;
  /** A message that was decoded and validated. */
  message(message: FromCloud): void;
  /** A message that can't be read; `answers`: the question that it answers, if known. */
  unreadable?(reason: string, answers?: { readonly request: string; readonly channel?: string }): void;
  /** The broker refused a message, and said why. Not every broker does. */
  refused?(topic: "up" | "sync", reason: string): void;
  /** The device's report when it connects; absent: none. */
  describe?(): DeviceReport;
}

/** A link to the cloud: at most once, unordered in principle; the layers above resend lost messages. */
export interface Transport {
  /** Starts to connect, and calls the handlers from then on. */
  start(handlers: TransportHandlers): void;
  /** Sends a message. False: not connected, and nothing was queued. */
  send(message: FromDevice): boolean;
  /** Sends the device's report to the cloud, for people. False: not connected. A transport may lack it. */
  report?(report: DeviceReport): boolean;
  /**
   * Sends the device's position in its channels, because the cloud asked. False: not connected. A transport may lack
   * it.
   */
  tell?(at: Readonly<Record<string, number>>): boolean;
  /** Cuts the link until {@link resume}: as if the network were away. A transport may lack both. */
  pause?(): void;
  /** Ends a {@link pause}. */
  resume?(): void;
  /** Whether messages can be sent now. */
  readonly connected: boolean;
  /**
   * Why there is no connection, or why the broker disconnects this device again and again, as a problem's name and
   * sentence. The transport logs it by itself.
   */
  readonly trouble?: { readonly name: "credentials" | "duplicate" | "offline"; readonly sentence: string } | undefined;
  /**
   * How an order replaces the token that the device shows; absent: it can't.
   *
   * @internal
   */
  readonly rotation?: TokenRotation | undefined;
  /** Disconnects for good. */
  close(): Promise<void>;
}

/** Replaces the token that a device shows. */
export interface TokenRotation {
  /** Stores the token that an order brought, and connects again by it. @throws what the system says */
  begin(order: string, token: string): void;
  /** What became of it; undefined: not known yet. */
  outcome(order: string): "accepted" | "refused" | undefined;
}

/** The device's clocks. */
export interface Clock {
  /** Wall clock, ms since 1970. May jump, may be wrong by years. */
  wallMs(): number;
  /** Ms that only increase, from any origin; void after a restart. */
  monotonicMs(): number;
}
