/**
 * A folder for one test, gone when the test is.
 *
 * @module
 */

/** Use with `using`. */
export class TempDir implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "twintable-e2e-" });

  /** A path in the folder. */
  file(name: string): string {
    return `${this.path}/${name}`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
