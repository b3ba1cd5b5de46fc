/**
 * What the sync logic of the agent is handed: a transport and a clock. The shell gives it MQTT and the machine's clocks,
 * the simulation its own.
 *
 * @module
 */
import type { DeviceReport, FromCloud, FromDevice } from "../protocol.ts";

/** What a transport tells the agent. Calls never overlap. */
export interface TransportHandlers {
  /** The link is up and subscribed to every topic of this device: nothing published from now on is missed silently. */
  connected(): void;
  /** The connection is lost, or could not be made. */
  disconnected(reason: string): void;
  /** A message that was decoded and validated. */
  message(message: FromCloud): void;
  /** A message that can't be read; `answers`: the question that it answers, as far as that can be told. */
  unreadable?(reason: string, answers?: { readonly request: string; readonly channel?: string }): void;
  /** The broker refused what was sent, and said why. Not every broker does. */
  refused?(topic: "up" | "sync", reason: string): void;
  /** What the device says of itself when it comes; absent: nothing. */
  describe?(): DeviceReport;
}

/** A link to the cloud: at most once, unordered in principle; what is lost is sent again by the logic above. */
export interface Transport {
  /** Begins to connect, and calls the handlers from then on. */
  start(handlers: TransportHandlers): void;
  /** Hands a message over. False: not connected, and nothing was queued. */
  send(message: FromDevice): boolean;
  /** Tells the cloud of the device, for people to look at. False: not connected. A transport may lack it. */
  report?(report: DeviceReport): boolean;
  /** Says where the device is in its channels, as the cloud asks. False: not connected. A transport may lack it. */
  tell?(at: Readonly<Record<string, number>>): boolean;
  /** Cuts the link until {@link resume}: as if the network were away. A transport may lack both. */
  pause?(): void;
  /** Ends a {@link pause}. */
  resume?(): void;
  /** Whether messages can be sent now. */
  readonly connected: boolean;
  /** What keeps this device out, or throws it out again and again, as a problem's name and sentence. */
  readonly trouble?: { readonly name: "credentials" | "duplicate"; readonly sentence: string } | undefined;
  /** Disconnects for good. */
  close(): Promise<void>;
}

/** The device's clocks. */
export interface Clock {
  /** Wall clock, ms since 1970. May jump, may be wrong by years. */
  wallMs(): number;
  /** Ms that only go forward, from any origin; void after a restart. */
  monotonicMs(): number;
}
