/**
 * What a process uses, by `/proc` (Linux): its memory, its highest memory, its processor time.
 *
 * @module
 */

/** Resident memory, its highest value and the processor time of a process. */
export interface ProcessUsage {
  readonly residentMb: number;
  readonly peakMb: number;
  /** Of the resident memory, what is no page of a file: what the kernel can't take back when it needs memory. */
  readonly anonymousMb: number;
  /** User and system time since the process began, ms. The kernel counts it in ticks of 10 ms. */
  readonly cpuMs: number;
}

/** USER_HZ, which is 100 on every Linux that Deno runs on. */
const tickMs = 10;

/** @throws Deno.errors.NotFound where there is no such process, or no `/proc` */
export function usageOf(pid: number): ProcessUsage {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const mb = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? NaN) / 1024;
  // The command's name, in parentheses, may hold spaces: the fields are counted behind it.
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
  return {
    residentMb: mb("VmRSS"),
    peakMb: mb("VmHWM"),
    anonymousMb: mb("RssAnon"),
    cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs,
  };
}

/** Makes the highest memory of a process start anew from what it has now. */
export function resetPeak(pid: number): void {
  Deno.writeTextFileSync(`/proc/${pid}/clear_refs`, "5");
}
