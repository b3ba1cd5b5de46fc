/**
 * A folder for a run's copies of databases, gone afterwards.
 *
 * @module
 */
import { existsSync } from "node:fs";

/** On a memory file system where there is one: copies are made and read all the time, and need not survive anything. */
export async function withScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const memory = "/dev/shm";
  const folder = Deno.makeTempDirSync({ prefix: "twintable-sim-", ...(existsSync(memory) ? { dir: memory } : {}) });
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
