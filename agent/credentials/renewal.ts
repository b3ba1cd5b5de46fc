/**
 * When a device asks for its next certificate, and what it does with the answer.
 *
 *     valid ─(a third of its life is left)─▶ asking ─(certificate)─▶ connecting anew ─(let in)─▶ valid
 *              ▲                               │  ▲                         │
 *              └──── refused, no answer: later ┘  └──── refused by the broker: with the old one, another in an hour
 *
 * Time is the cloud's, as its messages tell it: a device's own clock may be off by years. Nothing is asked before it is known.
 * Devices that were given certificates together ask spread over a quarter of that third.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import type { Renew, Renewed } from "../../protocol.ts";
import type { KeyFiles } from "./key_files.ts";

/** What a {@link Renewal} works with. */
export interface RenewalOptions {
  readonly files: KeyFiles;
  readonly deviceId: string;
  /** False: not connected. */
  readonly send: (message: Renew) => boolean;
  /** Connects with what the files give by then. */
  readonly reconnect: () => void;
  /** In [0, 1). */
  readonly random: () => number;
  /** Wall clock, ms. Default the machine's. */
  readonly nowMs?: () => number;
}

/** Certificates begin so long before they are issued: that is no part of their life. */
const backdatedMs = 3_600_000;
/** No answer: asked again after a minute, then less and less often. */
const unanswered = { firstMs: 60_000, maxMs: 3_600_000 };
/** Refused, or it could not be stored. */
const againMs = 3_600_000;
/** Timers longer than this are set again: the clock may have been put right meanwhile. */
const lookMs = 600_000;
const log = new Log("certificate");

/** See the module. */
export class Renewal {
  readonly #spread: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isConnected = false;
  /** The cloud's time less this machine's. */
  #offsetMs: number | undefined;
  #request: string | undefined;
  #tries = 0;
  /** Nothing is asked before. By the machine's clock. */
  #notBeforeMs = -Infinity;
  #reason: string | undefined;

  constructor(private readonly options: RenewalOptions) {
    this.#spread = options.random();
  }

  #now(): number {
    return (this.options.nowMs ?? Date.now)();
  }

  /** The broker has let the device in. */
  connected(): void {
    this.#isConnected = true;
    this.#try("kept", () => this.options.files.accepted());
    this.#plan();
  }

  /** The connection is lost. */
  disconnected(): void {
    this.#isConnected = false;
    clearTimeout(this.#timer);
  }

  /** The broker has refused what was shown. @returns whether there is an older certificate to try at once */
  refused(): boolean {
    if (!this.options.files.refused()) return false;
    this.#later(againMs, "the broker refused the new certificate");
    return true;
  }

  /** Whether what is shown now is new, and there is an older one to try where it is refused. */
  get hasOlder(): boolean {
    return this.options.files.isWaiting;
  }

  /** What the cloud's clock says. */
  heard(timeMs: number): void {
    const isFirst = this.#offsetMs === undefined;
    this.#offsetMs = timeMs - this.#now();
    if (isFirst) this.#plan();
  }

  /** The cloud's answer. */
  answered({ request, cert, reason, afterMs = 0 }: Renewed): void {
    if (request !== this.#request) return;
    this.#request = undefined;
    if (cert === undefined) return this.#later(Math.max(afterMs, unanswered.firstMs), reason ?? "the cloud refused it");
    const { files, deviceId, reconnect } = this.options;
    if (!this.#try("taken", () => files.take(deviceId, cert))) return;
    this.#tries = 0;
    this.#reason = undefined;
    log.info("{deviceId} has a new certificate and connects with it", { deviceId });
    reconnect();
  }

  /** What is to be said for people: the certificate is about to expire, and there is no other. */
  get trouble(): string | undefined {
    if (this.#offsetMs === undefined) return undefined;
    const { untilMs, lifeMs } = this.#life(), leftMs = untilMs - this.#now() - this.#offsetMs;
    if (leftMs > lifeMs / 6) return undefined;
    const why = this.#reason === undefined ? "" : `: ${this.#reason}`;
    return `the certificate expires at ${new Date(untilMs).toISOString()} and is not renewed yet${why}`;
  }

  #life(): { untilMs: number; lifeMs: number } {
    const { fromMs, untilMs } = this.options.files.validity;
    return { untilMs, lifeMs: Math.max(0, untilMs - fromMs - backdatedMs) };
  }

  #plan(): void {
    clearTimeout(this.#timer);
    if (!this.#isConnected || this.#offsetMs === undefined) return;
    const { untilMs, lifeMs } = this.#life();
    const dueMs = untilMs - (lifeMs / 3) * (1 - this.#spread / 4) - this.#offsetMs;
    const waitMs = Math.max(dueMs, this.#notBeforeMs) - this.#now();
    if (waitMs > 0) this.#timer = setTimeout(() => this.#plan(), Math.min(waitMs, lookMs));
    else this.#ask();
  }

  #ask(): void {
    const { files, deviceId, send, random } = this.options;
    let csr: string | undefined;
    if (!this.#try("asked for", () => csr = files.request(deviceId))) return;
    this.#request = `renew/${Math.floor(this.#now())}`;
    if (!send({ type: "renew", request: this.#request, csr: csr! })) return;
    // Without an answer: the message was lost, or the cloud can't read it.
    this.#later(backoffMs(this.#tries++, random, unanswered), this.#reason);
  }

  #later(waitMs: number, reason: string | undefined): void {
    this.#reason = reason;
    this.#notBeforeMs = this.#now() + waitMs * (1 + this.options.random() / 4);
    this.#plan();
  }

  /** Works on the files. @returns whether that went well; if not, why, and when again, is known */
  #try(what: string, work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      // A folder that can't be written, a disk that is full, an answer that does not fit: the device goes on with what it has.
      const reason = error instanceof Error ? error.message : String(error);
      log.warn("the next certificate of {deviceId} can't be {what}: {reason}", {
        deviceId: this.options.deviceId,
        what,
        reason,
      });
      this.#later(againMs, reason);
      return false;
    }
  }
}
