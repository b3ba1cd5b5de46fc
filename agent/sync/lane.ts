/**
 * How far the entries of a model that waits were read.
 *
 * @module
 */

/**
 * Of a model that waits (`waits.ts`): its entries are read separately, only as many as may probe. All except those in
 * flight count as unread.
 */
export class Lane {
  /** Read up to this entry in the present pass. */
  at = 0;
  /**
   * Keys that were refused in this pass, as bits: bounded, however many wait. A key that shares a bit probes in the
   * next pass.
   */
  readonly #refused = new Uint8Array(1 << 16);
  #salt = 0;
  #any = false;

  refuse(text: string): void {
    const bit = this.#bitOf(text);
    this.#refused[bit >> 3]! |= 1 << (bit & 7);
    this.#any = true;
  }

  hasAsked(text: string): boolean {
    if (!this.#any) return false;
    const bit = this.#bitOf(text);
    return (this.#refused[bit >> 3]! & (1 << (bit & 7))) !== 0;
  }

  /** From the first entry again: every key may probe once more. */
  begin(): void {
    this.at = 0;
    this.#refused.fill(0);
    this.#salt++;
    this.#any = false;
  }

  /** FNV-1a over the salt and the text. */
  #bitOf(text: string): number {
    let hash = (2166136261 ^ this.#salt) >>> 0;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619) >>> 0;
    return (hash ^ (hash >>> 15)) & ((1 << 19) - 1);
  }
}
