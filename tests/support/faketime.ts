/**
 * Processes with a wrong clock: libfaketime, preloaded. A running process follows the offset in a file, so that its clock
 * can jump. The monotonic clock stays right, as a real one does when somebody sets the time. A test that uses it is ignored
 * where `toolsMissing("faketime", "sqlite3")`: the program comes with the library.
 *
 * @module
 */

const candidates = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map((triple) =>
  `/usr/lib/${triple}/faketime/libfaketime.so.1`
);

function libraryPath(): string {
  const found = candidates.find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  });
  if (found === undefined) throw new Error(`libfaketime is none of ${candidates.join(", ")}`);
  return found;
}

/** A wrong wall clock for processes that start with {@link env}; it stands in a file of the test's folder. */
export class FakeTime {
  readonly #file: string;

  /** @param offset as faketime takes it: `+3600` seconds, or `@1970-01-01 00:00:10` for the time at the process's start. */
  constructor(dir: string, offset: string) {
    this.#file = `${dir}/faketime`;
    this.set(offset);
  }

  get env(): Record<string, string> {
    return {
      LD_PRELOAD: libraryPath(),
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      DONT_FAKE_MONOTONIC: "1",
      // Without it the clock of a second process with an absolute time would start anew.
      FAKETIME_DONT_RESET: "1",
      TZ: "UTC",
    };
  }

  /** Puts the clock elsewhere, in every process that runs with it. */
  set(offset: string): void {
    Deno.writeTextFileSync(this.#file, `${offset}\n`);
  }
}
