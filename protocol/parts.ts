/**
 * Parts of oversize messages. A broker limits payloads (AWS IoT Core: 128 KB), so a larger message travels as several
 * payloads, each a text line and then a slice of the message's bytes:
 *
 *     #1 <id: 16 hex digits> <index> <count>\n<bytes>
 *
 * The id is the start of the whole message's SHA-256. An unaltered resend has the same parts, so late parts of the
 * first transmission complete the second; and the reassembled message is checked against the id. Guarantee: parts
 * complete a message in any order, repeated or not, and incomplete messages hold bounded memory for a bounded time.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ProtocolError } from "./errors.ts";

/** The first byte of a part. A message begins with `{`; other first bytes are free for later encodings. */
export const partMark = 0x23;

/** Room for the line: mark, version, id, and two numbers of up to five digits. */
const headerBytesMax = 40;
/** 16 MB in parts of 1 KB. */
const countMax = 16_384;
/** The assumed cost of storing a part in addition to its bytes, so that tiny parts are not free. */
const partOverheadBytes = 128;

/** A part's place in its message. */
export interface PartHeader {
  readonly id: string;
  readonly index: number;
  readonly count: number;
  /** Where the slice begins in the payload. */
  readonly bodyAt: number;
}

function idOf(message: Uint8Array): string {
  return createHash("sha256").update(message).digest("hex").slice(0, 16);
}

/** Cuts a message into payloads of at most `maxBytes`, header included. */
export function splitParts(message: Uint8Array, maxBytes: number): Uint8Array[] {
  const bodyBytes = maxBytes - headerBytesMax;
  const count = Math.ceil(message.length / bodyBytes);
  if (count > countMax) {
    throw new RangeError(`a message of ${message.length} bytes does not fit into parts of ${maxBytes}`);
  }
  const id = idOf(message);
  return Array.from({ length: count }, (_, index) => {
    const header = new TextEncoder().encode(`#1 ${id} ${index} ${count}\n`);
    const body = message.subarray(index * bodyBytes, (index + 1) * bodyBytes);
    const part = new Uint8Array(header.length + body.length);
    part.set(header);
    part.set(body, header.length);
    return part;
  });
}

/**
 * Reads a part's line; undefined if the payload is not a part.
 *
 * @throws {ProtocolError} for a part of another version, or a malformed one
 */
export function partHeader(payload: Uint8Array): PartHeader | undefined {
  if (payload[0] !== partMark) return undefined;
  const lineEnd = payload.subarray(0, headerBytesMax).indexOf(0x0a);
  const line = lineEnd < 0 ? "" : String.fromCharCode(...payload.subarray(0, lineEnd));
  if (line !== "" && !line.startsWith("#1 ")) throw new ProtocolError("a part has another version than 1");
  const match = /^#1 ([0-9a-f]{16}) (0|[1-9][0-9]{0,4}) ([1-9][0-9]{0,4})$/.exec(line);
  const index = Number(match?.[2]), count = Number(match?.[3]);
  if (!match || index >= count || count > countMax) throw new ProtocolError("a part has a malformed first line");
  if (payload.length === lineEnd + 1) throw new ProtocolError("a part has no content");
  return { id: match[1]!, index, count, bodyAt: lineEnd + 1 };
}

interface Pending {
  readonly count: number;
  readonly begunMs: number;
  readonly parts: Map<number, Uint8Array>;
  bytes: number;
}

interface Sender {
  /** In the order of their first parts. */
  readonly pending: Map<string, Pending>;
  bytes: number;
}

/** Bounds of an {@link Assembler}. */
export interface AssemblerLimits {
  /** Bytes of one whole message, and of all that one sender has pending. */
  readonly maxBytes: number;
  /** Incomplete messages of one sender. */
  readonly maxPending: number;
  /** Bytes of all senders together. */
  readonly maxTotalBytes: number;
  /** An incomplete message is dropped after this time, or up to an eighth later. */
  readonly timeoutMs: number;
}

/** Reassembles parts, by sender. If a bound drops a message, the layers above send it again. */
export class Assembler {
  readonly #senders = new Map<string, Sender>();
  #bytes = 0;
  #sweptMs = -Infinity;
  /** Incomplete messages that were dropped, because of a bound or their age. */
  dropped = 0;

  constructor(private readonly limits: AssemblerLimits, private readonly now: () => number) {}

  /** Bytes held by incomplete messages. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes in a part; returns the whole message's bytes when it is complete.
   *
   * @throws {ProtocolError} for a message above the limit, or one whose bytes don't match its id
   */
  accept(header: PartHeader, payload: Uint8Array, sender: string): Uint8Array | undefined {
    this.#expire();
    const from = this.#senders.get(sender) ?? { pending: new Map<string, Pending>(), bytes: 0 };
    this.#senders.set(sender, from);
    const pending = this.#pendingOf(from, header);
    if (!pending.parts.has(header.index)) {
      // A copy: the payload may be a view into the connection's much larger buffer.
      const body = payload.slice(header.bodyAt);
      pending.parts.set(header.index, body);
      this.#add(from, pending, body.length + partOverheadBytes);
    }
    try {
      return pending.parts.size === header.count ? this.#complete(from, header.id, pending) : undefined;
    } finally {
      this.#makeRoom(from, header.id);
      if (from.pending.size === 0) this.#senders.delete(sender);
    }
  }

  #pendingOf(from: Sender, { id, count }: PartHeader): Pending {
    let pending = from.pending.get(id);
    if (pending && pending.count !== count) {
      // The same message, cut for another limit: the slices do not fit together.
      this.#drop(from, id);
      pending = undefined;
    }
    if (!pending) {
      pending = { count, begunMs: this.now(), parts: new Map(), bytes: 0 };
      from.pending.set(id, pending);
    }
    return pending;
  }

  #complete(from: Sender, id: string, pending: Pending): Uint8Array {
    this.#remove(from, id, pending);
    const length = [...pending.parts.values()].reduce((sum, part) => sum + part.length, 0);
    if (length > this.limits.maxBytes) {
      throw new ProtocolError(`a message in parts has ${length} bytes, more than ${this.limits.maxBytes}`);
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (let index = 0; index < pending.count; index++) {
      const part = pending.parts.get(index)!;
      whole.set(part, at);
      at += part.length;
    }
    if (idOf(whole) !== id) throw new ProtocolError("a message in parts is not what its id says");
    return whole;
  }

  /**
   * Applies each bound in turn: this sender's count and bytes, then all senders' bytes, where the sender that holds
   * most loses first.
   */
  #makeRoom(from: Sender, latest: string): void {
    const { maxPending, maxBytes, maxTotalBytes } = this.limits;
    while (from.pending.size > maxPending || from.bytes > maxBytes + maxBytes / 4) {
      // Drops the oldest first; the one just received only if it alone is too large.
      const oldest = [...from.pending.keys()].find((id) => id !== latest) ?? latest;
      this.#drop(from, oldest);
    }
    while (this.#bytes > maxTotalBytes) {
      const [name, largest] = [...this.#senders].reduce((a, b) => b[1].bytes > a[1].bytes ? b : a);
      for (const id of [...largest.pending.keys()].slice(0, 1)) this.#drop(largest, id);
      if (largest.pending.size === 0) this.#senders.delete(name);
    }
  }

  /** Runs only from time to time, so that a part costs the same however many senders there are. */
  #expire(): void {
    const now = this.now();
    if (now >= this.#sweptMs && now - this.#sweptMs < this.limits.timeoutMs / 8) return;
    this.#sweptMs = now;
    const oldestMs = now - this.limits.timeoutMs;
    for (const [name, sender] of this.#senders) {
      for (const [id, pending] of sender.pending) {
        // They are ordered by age: the first that is young ends the search.
        if (pending.begunMs > oldestMs) break;
        this.#drop(sender, id);
      }
      if (sender.pending.size === 0) this.#senders.delete(name);
    }
  }

  #add(from: Sender, pending: Pending, bytes: number): void {
    pending.bytes += bytes;
    from.bytes += bytes;
    this.#bytes += bytes;
  }

  #remove(from: Sender, id: string, pending: Pending): void {
    from.pending.delete(id);
    this.#add(from, pending, -pending.bytes);
  }

  #drop(from: Sender, id: string): void {
    const pending = from.pending.get(id);
    if (!pending) return;
    this.#remove(from, id, pending);
    this.dropped++;
  }
}
