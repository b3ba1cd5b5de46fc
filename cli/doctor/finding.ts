/**
 * The findings of `doctor`: one line for each check.
 *
 * @module
 */

/** One check. */
export interface Finding {
  /** The subject: `broker`, `clock`, … */
  readonly what: string;
  /** `ok`; `wrong`: it must be corrected; `unknown`: it cannot be checked from here. */
  readonly state: "ok" | "wrong" | "unknown";
  /** What was seen. */
  readonly says: string;
  /** What to do. */
  readonly advice?: string;
}

/** It is as it should be. */
export function ok(what: string, says: string): Finding {
  return { what, state: "ok", says };
}

/** It must be put right. */
export function wrong(what: string, says: string, advice?: string): Finding {
  return { what, state: "wrong", says, ...(advice === undefined ? {} : { advice }) };
}

/** It cannot be checked from here. */
export function unknown(what: string, says: string, advice?: string): Finding {
  return { what, state: "unknown", says, ...(advice === undefined ? {} : { advice }) };
}
