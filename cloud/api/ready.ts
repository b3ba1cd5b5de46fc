/**
 * The checks of `/readyz`. `/healthz` says that the process is alive; this says that it reaches the services that it
 * needs.
 *
 * @module
 */
import { within } from "../../protocol/within.ts";
import type { Tables } from "../table/port.ts";

/** How long a table may take, ms. */
const withinMs = 2_000;

/** How old an answer may be, ms: whoever asks, however often, the tables are read once in this time. */
const freshMs = 1_000;

/** The same checks, made once for all who ask at the same time or soon after one another. */
export function asked(lacking: () => Promise<string[]>, now: () => number): () => Promise<readonly string[]> {
  let last: { readonly atMs: number; readonly found: Promise<readonly string[]> } | undefined;
  return () => {
    const ageMs = now() - (last?.atMs ?? -Infinity);
    // A clock that was set back says nothing about the age.
    if (!last || ageMs >= freshMs || ageMs < 0) last = { atMs: now(), found: lacking() };
    return last.found;
  };
}

/** Why the tables can't be read now, a sentence each; empty if they can. Reads a non-existent key from each. */
export async function tableLacking({ data, log }: Tables): Promise<string[]> {
  const looked = await Promise.all(([["data", data], ["log", log]] as const).map(async ([name, table]) => {
    try {
      const read = await within(withinMs, table.get([["readyz", "readyz"]]));
      return read ? [] : [`the ${name} table can't be read: no answer within ${withinMs} ms`];
    } catch (error) {
      return [`the ${name} table can't be read: ${(error as Error).message}`];
    }
  }));
  return looked.flat();
}
