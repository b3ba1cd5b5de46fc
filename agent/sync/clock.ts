/**
 * The device's sense of time. Three clocks meet here: the wall clock, which may be wrong by years and may jump; the
 * monotonic clock, which distinguishes a jump from the passing of time; and the cloud's clock, known only from its
 * answers.
 *
 *   corrected time of a local commit = recorded wall time + jumps since it was recorded + offset to the cloud
 *
 * The offset is void after every start and every jump until the next answer: nothing gets a stamp before it is known. A
 * jump starts a new **segment**. Capture triggers write the segment beside the time, so that a time recorded before the
 * jump can be corrected by it.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Clock } from "../ports.ts";
import type { Outbox } from "./outbox.ts";
import type { Store } from "../store/store.ts";

/** A difference between wall and monotonic clock that counts as a jump. NTP slews by at most 0.5 ms/s, far below. */
export const jumpMinMs = 500;
/**
 * Offsets up to this count as zero. Network delay makes the measured offset noisy by about that much anyway, and with
 * zero a row's own `updated` is exactly the stamp's time, so that the row need not be written again.
 */
export const offsetIgnoredMs = 1000;

/** A correction by more than this stands in the journal. */
const toldMs = 1000;
const log = new Log("agent");

/** Times before this come from a clock that was never set: no device ran Twintable in 2020. */
const plausibleFromMs = Date.UTC(2021, 0, 1);

/** The agent's clocks and segments. One per agent; its tables are `_sync_clock` and `_sync_flag`. */
export class DeviceClock {
  #offsetMs: number | undefined;
  #segment: number;
  /** By segment, the jump that ended it. */
  #jumps: number[] = [];
  /** The last jump, until an answer shows whether the wall clock moved against the cloud's. */
  #unproven: { readonly segment: number; readonly offsetMs: number } | undefined;
  #lastWallMs: number;
  #lastMonotonicMs: number;
  /** A time that the cloud's clock had passed at this monotonic time. */
  #passed: { readonly ms: number; readonly monotonicMs: number } | undefined;

  constructor(readonly clock: Clock, readonly store: Store, readonly outbox: Outbox) {
    this.#lastWallMs = clock.wallMs();
    this.#lastMonotonicMs = clock.monotonicMs();
    this.#segment = Number(store.db.sql("SELECT segment FROM _sync_flag").get()!.segment);
    for (const row of store.db.sql("SELECT segment, delta FROM _sync_clock ORDER BY segment").all()) {
      this.#jumps[Number(row.segment)] = Number(row.delta);
    }
    const passed = ["cloudTime", "lastAck", "lastSync"].map((name) => Number(store.getMeta(name) ?? 0));
    if (Math.max(...passed) > 0) this.#passed = { ms: Math.max(...passed), monotonicMs: this.#lastMonotonicMs };
  }

  /** Whether an answer of the cloud has contained its time since the start or the last jump. */
  get known(): boolean {
    return this.#offsetMs !== undefined;
  }

  /** How far the cloud's clock is ahead of this device's, ms; undefined while unknown. */
  get offsetMs(): number | undefined {
    return this.#offsetMs;
  }

  /** Now in the cloud's time, as far as known; the wall clock's before that. */
  nowMs(): number {
    return Math.round(this.clock.wallMs() + (this.#offsetMs ?? 0));
  }

  /**
   * A lower bound of the cloud's clock: while its time is unknown, the last known time plus the time that has passed
   * since then while an agent ran. Undefined: it was never known. Called about once a minute, it is stored across
   * restarts. Must not run inside a transaction.
   */
  atLeastMs(): number | undefined {
    const monotonicMs = this.clock.monotonicMs();
    if (this.known) this.#passed = { ms: this.nowMs(), monotonicMs };
    const passed = this.#passed;
    if (!passed) return undefined;
    const ms = Math.floor(passed.ms + monotonicMs - passed.monotonicMs);
    if (!this.known) this.store.tx(() => this.store.setMeta("cloudTime", ms));
    return ms;
  }

  monotonicMs(): number {
    return this.clock.monotonicMs();
  }

  /** Learns the cloud's time from an answer that was received just now. Must not run inside a transaction. */
  learn(cloudMs: number): void {
    const offset = cloudMs - this.clock.wallMs();
    this.#judge(offset);
    const next = Math.abs(offset) <= offsetIgnoredMs ? 0 : offset;
    if (Math.abs(next - (this.#offsetMs ?? 0)) > toldMs) {
      log.info("clock corrected: this machine's clock is {seconds} s {side} the cloud's", {
        seconds: (Math.abs(offset) / 1000).toFixed(1),
        side: offset < 0 ? "ahead of" : "behind",
        subject: "clock",
      });
    }
    this.#offsetMs = next;
  }

  /**
   * The monotonic clock stands still while a machine sleeps, which looks like a jump of the wall clock. If the offset
   * is the same as before, the wall clock was right all the time, and nothing needs a correction.
   */
  #judge(offsetMs: number): void {
    const jump = this.#unproven;
    if (jump && Math.abs(offsetMs - jump.offsetMs) <= offsetIgnoredMs) {
      this.store.tx(() => this.store.db.sql("UPDATE _sync_clock SET delta = 0 WHERE segment = ?").run(jump.segment));
      this.#jumps[jump.segment] = 0;
    }
    this.#unproven = undefined;
  }

  /**
   * Checks whether the wall clock jumped since the last check, and if so starts a new segment. Entries that another
   * process recorded between the jump and this check carry the old segment with the new clock: those whose time fits
   * the new clock better are moved to the new segment. Must not run inside a transaction, because its own state must be
   * committed.
   *
   * @returns whether it jumped: then the offset is void, and the agent must ask the cloud
   */
  check(): boolean {
    const wall = this.clock.wallMs(), monotonic = this.clock.monotonicMs();
    const expected = this.#lastWallMs + (monotonic - this.#lastMonotonicMs);
    const delta = Math.round(wall - expected);
    const jumped = Math.abs(delta) >= jumpMinMs, next = this.#segment + 1;
    if (jumped) {
      this.store.tx(() => {
        const { db } = this.store;
        db.sql("INSERT OR REPLACE INTO _sync_clock(segment, delta) VALUES (?, ?)").run(this.#segment, delta);
        db.sql("UPDATE _sync_flag SET segment = ?").run(next);
        db.sql("UPDATE _outbox SET segment = ? WHERE seq > ? AND abs(time - ?) < abs(time - ?)")
          .run(next, this.outbox.seen, Math.round(wall), Math.round(expected));
      });
    }
    // Only now: if writing fails, the next check must find the jump again.
    this.outbox.markSeen();
    this.#lastWallMs = wall;
    this.#lastMonotonicMs = monotonic;
    if (!jumped) return false;
    log.info("the clock of this machine jumped by {seconds} s", {
      seconds: (delta / 1000).toFixed(1),
      subject: "clock",
    });
    this.#unproven = this.#offsetMs === undefined ? undefined : { segment: this.#segment, offsetMs: this.#offsetMs };
    this.#jumps[this.#segment] = delta;
    this.#segment = next;
    this.#offsetMs = undefined;
    return true;
  }

  /**
   * The cloud's time at which a local commit happened, never later than now. A time from a clock that was never set
   * (before 2021) is useless: such a commit counts as made now.
   */
  correctedMs(recordedMs: number, segment: number): number {
    const now = this.nowMs();
    let corrected = recordedMs + (this.#offsetMs ?? 0);
    for (let s = segment; s < this.#segment; s++) corrected += this.#jumps[s] ?? 0;
    return corrected < plausibleFromMs ? now : Math.min(corrected, now);
  }
}
