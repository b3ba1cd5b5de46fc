/**
 * A disk that is full or slow, for one running process: `strace` makes its system calls fail, or wait. Nothing but that
 * process is concerned, and no file system has to be made for it.
 *
 * @module
 */
import { skipped } from "./tools.ts";
import { until } from "./until.ts";

/** What is wrong with the disk: writes find it full, or a sync takes 300 ms. */
export type DiskFault = "full" | "slow";

const injections: Record<DiskFault, string> = {
  full: "pwrite64,ftruncate,fallocate:error=ENOSPC",
  slow: "fsync,fdatasync,pwrite64:delay_enter=300000",
};
const calls = "pwrite64,ftruncate,fallocate,fsync,fdatasync";

/** Makes the disk of a process bad; the function that comes back makes it good again. */
export async function spoilDisk(pid: number, fault: DiskFault): Promise<() => Promise<void>> {
  const child = new Deno.Command("strace", {
    args: ["-f", "-p", String(pid), "-e", `trace=${calls}`, "-e", `inject=${injections[fault]}`, "-o", "/dev/null"],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let said = "", ended = false;
  const status = child.status.then(() => ended = true);
  const read = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) said += text;
  })();
  await until("strace is attached", () => {
    if (ended && !said.includes("attached")) throw new Error(`strace ended: ${said}`);
    return said.includes("attached") || ended;
  });
  return async () => {
    // It lets go of the process; where that was killed meanwhile, it has ended by itself.
    if (!ended) child.kill("SIGINT");
    await status;
    await read;
  };
}

/** Why no disk can be made bad here; undefined where it can. `strace` needs the right to trace other processes. */
export async function badDiskMissing(): Promise<string | undefined> {
  const sleeper = new Deno.Command("sleep", { args: ["30"], stdin: "null" }).spawn();
  try {
    await (await spoilDisk(sleeper.pid, "slow"))();
    return undefined;
  } catch (error) {
    const reason = `no strace on other processes here: ${(error as Error).message.split("\n")[0]}`;
    skipped(reason);
    return reason;
  } finally {
    sleeper.kill("SIGKILL");
    await sleeper.status;
  }
}
