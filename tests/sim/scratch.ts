/**
 * A folder for a run's copies of databases, gone afterwards.
 *
 * @module
 */
import { existsSync } from "node:fs";

/** A new folder, on a memory file system where there is one: copies are made and read all the time, and need not survive. */
export function scratchFolder(prefix: string): string {
  const memory = "/dev/shm";
  return Deno.makeTempDirSync({ prefix, ...(existsSync(memory) ? { dir: memory } : {}) });
}

/** Works in a folder that is gone afterwards, also where the work is interrupted. */
export async function withScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = scratchFolder("twintable-sim-");
  const interrupted = () => {
    Deno.removeSync(folder, { recursive: true });
    Deno.exit(130);
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, interrupted);
  try {
    return await work(folder);
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, interrupted);
    Deno.removeSync(folder, { recursive: true });
  }
}
