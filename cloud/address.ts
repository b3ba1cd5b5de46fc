/**
 * Whom an address stands for, where a bound counts by address: connections, tries to sign in, claims. An IPv4 address is
 * one place. Of IPv6, a subscriber gets a whole /64 and more (RFC 6177), and may use another of its 2^64 addresses for
 * each connection; so all of a /64 count as one. An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`, as a socket
 * of both families shows it) counts as that IPv4 address.
 *
 * @module
 */

/** The eight groups of an IPv6 address; undefined: it is none. Its zone (`%eth0`) is left out. */
function groupsOf(address: string): number[] | undefined {
  const text = address.replace(/^\[/, "").replace(/[\]%].*$/, "");
  if (text.length > 45 || !text.includes(":")) return undefined;
  const dotted = /^(.*:)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const bytes = dotted?.slice(2).map(Number) ?? [];
  const pair = (at: number) => (bytes[at]! * 256 + bytes[at + 1]!).toString(16);
  const halves = (dotted ? `${dotted[1]}${pair(0)}:${pair(2)}` : text).split("::");
  const [head = [], tail = []] = halves.map((half) => half === "" ? [] : half.split(":"));
  const missing = 8 - head.length - tail.length;
  if (halves.length > 2 || (halves.length === 2 ? missing < 1 : missing !== 0)) return undefined;
  const all = [...head, ...Array<string>(missing).fill("0"), ...tail];
  return all.every((group) => /^[0-9a-f]{1,4}$/i.test(group)) ? all.map((group) => parseInt(group, 16)) : undefined;
}

/** What a bound by address counts by; what is no address of either family counts as it is written. */
export function sourceOf(address: string): string {
  const groups = groupsOf(address);
  if (!groups) return address.slice(0, 64);
  const [, , , , , mapped, high = 0, low = 0] = groups;
  if (mapped === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return [high >> 8, high & 255, low >> 8, low & 255].join(".");
  }
  if (groups.slice(0, 7).every((group) => group === 0)) return `::${low.toString(16)}`;
  return `${groups.slice(0, 4).map((group) => group.toString(16)).join(":")}::/64`;
}

/** Whether an address is this machine's own: a proxy may stand there, for everybody. */
export function isLoopback(address: string): boolean {
  const source = sourceOf(address);
  return source === "::1" || /^127(\.\d{1,3}){3}$/.test(source);
}

/** How many of something each source has open. Holds an entry only for sources that have some. */
export class OpenBySource {
  readonly #open = new Map<string, number>();

  /** How many sources have some open. */
  get size(): number {
    return this.#open.size;
  }

  /** Counts one more, unless its source has as many as it may; `false`: it has, and nothing was counted. */
  enter(address: string, max: number): boolean {
    const source = sourceOf(address), count = this.#open.get(source) ?? 0;
    if (count >= max) return false;
    this.#open.set(source, count + 1);
    return true;
  }

  /** One of those that were counted has ended. */
  leave(address: string): void {
    const source = sourceOf(address), left = (this.#open.get(source) ?? 0) - 1;
    if (left > 0) this.#open.set(source, left);
    else this.#open.delete(source);
  }
}
