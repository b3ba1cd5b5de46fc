/**
 * A message as a step in the log (`-v`): its type, what it answers or asks, and how much is in it, never an item or a secret.
 *
 * @module
 */
import type { FromCloud, FromDevice } from "../protocol.ts";
import { Sentence } from "./log.ts";

/** Fields that say which message it is, in this order; of lists, how many. */
const named = ["batch", "request", "order", "do", "state", "channel", "seq", "cursor", "model"] as const;
const counted = ["changes", "answers", "entries", "items", "keys", "ranges", "digests"] as const;

/** See the module's text. Its text is made when it is written. */
export class Step extends Sentence {
  constructor(private readonly message: FromDevice | FromCloud) {
    super("");
  }

  override get text(): string {
    const fields = this.message as unknown as Readonly<Record<string, unknown>>;
    const names = named.flatMap((name) => {
      const value = fields[name];
      return typeof value === "string" || typeof value === "number" ? [`${name} ${value}`] : [];
    });
    const counts = counted.flatMap((name) => {
      const value = fields[name];
      return Array.isArray(value) ? [`${value.length} ${name}`] : [];
    });
    return [this.message.type, ...names, ...counts].join(", ");
  }
}
