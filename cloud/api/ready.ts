/**
 * What `/readyz` looks at. `/healthz` says that the process is alive; this says that it reaches what it needs.
 *
 * @module
 */
import type { Tables } from "../table/port.ts";

/** How long a table may take, ms. */
const withinMs = 2_000;

/** Why the tables can't be read now, a sentence each; empty where they can. One read of each, of a key that nobody has. */
export async function tableLacking({ data, log }: Tables): Promise<string[]> {
  const looked = await Promise.all(([["data", data], ["log", log]] as const).map(async ([name, table]) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${withinMs} ms`)), withinMs);
    });
    try {
      await Promise.race([table.get([["readyz", "readyz"]]), late]);
      return [];
    } catch (error) {
      return [`the ${name} table can't be read: ${(error as Error).message}`];
    } finally {
      clearTimeout(timer);
    }
  }));
  return looked.flat();
}
