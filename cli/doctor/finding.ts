/**
 * What `doctor` finds: one line for each thing that it looked at.
 *
 * @module
 */

/** One thing that was looked at. */
export interface Finding {
  /** What it is: `broker`, `clock`, … */
  readonly what: string;
  /** `ok`; `wrong`: it must be put right; `unknown`: it can't be told from here. */
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

/** It can't be told from here. */
export function unknown(what: string, says: string, advice?: string): Finding {
  return { what, state: "unknown", says, ...(advice === undefined ? {} : { advice }) };
}
