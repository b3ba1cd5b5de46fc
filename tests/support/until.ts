/**
 * Waiting in tests: for a condition, never for a guessed time.
 *
 * @module
 */

/** How many times longer things may take: an emulator is that much slower than the embedded table. */
export const patience = Deno.env.has("TWINTABLE_E2E_TABLE") ? 6 : 1;

/** Polls until `condition` gives something truthy, and returns it. Fails naming `what` after `timeoutMs` (default 10 s) times {@link patience}. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = 10_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs * patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs * patience} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * Polls until `condition` holds, for as long as what is waited for goes on: fails once `progress` has given the same for
 * `stillMs`. For work whose time depends on the machine.
 */
export async function untilStill(
  what: string,
  condition: () => boolean | Promise<boolean>,
  progress: () => unknown,
  stillMs = 30_000,
): Promise<void> {
  let last = progress(), movedMs = performance.now();
  while (!await condition()) {
    const now = progress();
    if (now !== last) {
      last = now;
      movedMs = performance.now();
    } else if (performance.now() - movedMs > stillMs) {
      throw new Error(`nothing has moved for ${stillMs} ms, waiting until ${what}: ${now}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
