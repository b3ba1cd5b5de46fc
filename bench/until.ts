/**
 * Waiting for a condition.
 *
 * @module
 */

/** Waits until `met`, looking every `everyMs`. @throws Error after `timeoutMs` */
export async function until(
  what: string,
  met: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
  everyMs = 5,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!await met()) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
