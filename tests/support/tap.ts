/**
 * A link that can be looked into and interfered with: between an agent and its real MQTT link, it records every message,
 * and on request holds messages back, repeats them or cuts the line.
 *
 * @module
 */
import type { MqttLink } from "../../agent/link.ts";
import type { Transport, TransportHandlers } from "../../agent/ports.ts";
import type { FromCloud, FromDevice } from "../../protocol.ts";

/** What happens to a message: it passes, is dropped, waits until {@link Tap.release}, or arrives that many times. */
export type Fate = "pass" | "drop" | "hold" | number;

/** A transport with a tap. Without fates it does nothing but record. */
export class Tap implements Transport {
  readonly sent: FromDevice[] = [];
  readonly received: FromCloud[] = [];
  onSend: (message: FromDevice) => Fate = () => "pass";
  onReceive: (message: FromCloud) => Fate = () => "pass";
  #held: (() => void)[] = [];
  #cut = false;
  #handlers: TransportHandlers | undefined;

  constructor(readonly link: MqttLink) {}

  get connected(): boolean {
    return this.link.connected && !this.#cut;
  }

  get trouble(): Transport["trouble"] {
    return this.link.trouble;
  }

  get rotation(): Transport["rotation"] {
    return this.link.rotation;
  }

  /** Messages that wait. */
  get held(): number {
    return this.#held.length;
  }

  start(handlers: TransportHandlers): void {
    this.#handlers = handlers;
    this.link.start({
      connected: () => this.#cut || handlers.connected(),
      disconnected: (reason) => this.#cut || handlers.disconnected(reason),
      message: (message) => this.#receive(message),
      refused: (topic, reason) => handlers.refused?.(topic, reason),
    });
  }

  send(message: FromDevice): boolean {
    if (!this.connected) return false;
    this.sent.push(message);
    this.#meet(this.onSend(message), () => void this.link.send(message));
    return true;
  }

  #receive(message: FromCloud): void {
    if (this.#cut) return;
    this.received.push(message);
    // A message that is handed over later meets the agent as it is then.
    this.#meet(this.onReceive(message), () => this.#cut || this.#handlers?.message(structuredClone(message)));
  }

  #meet(fate: Fate, deliver: () => void): void {
    if (fate === "hold") this.#held.push(deliver);
    else if (fate !== "drop") { for (let i = 0; i < (fate === "pass" ? 1 : fate); i++) deliver(); }
  }

  /** Delivers what was held, `times` each, in the order of `order` (default: as it came). */
  release(times = 1, order: (list: (() => void)[]) => (() => void)[] = (list) => list): void {
    const held = order(this.#held);
    this.#held = [];
    for (const deliver of held) for (let i = 0; i < times; i++) deliver();
  }

  /** Delivers the message that has waited longest, once. */
  releaseFirst(): void {
    this.#held.shift()?.();
  }

  /** Hands a message of the past to the agent, as a network that kept it may. */
  replay(message: FromCloud): void {
    if (this.connected) this.#handlers?.message(structuredClone(message));
  }

  /** Sends a message of the past once more. */
  resend(message: FromDevice): void {
    this.link.send(message);
  }

  /** Cuts the line: nothing passes either way until {@link mend}. */
  cut(): void {
    if (this.#cut) return;
    this.#cut = true;
    this.#handlers?.disconnected("cut by the test");
  }

  /** Mends the line. */
  mend(): void {
    if (!this.#cut) return;
    this.#cut = false;
    if (this.link.connected) this.#handlers?.connected();
  }

  close(): Promise<void> {
    return this.link.close();
  }
}
