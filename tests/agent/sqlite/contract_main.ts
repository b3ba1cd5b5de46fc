/**
 * The drivers' contract suite as a program of its own, so that it can be compiled: `tests/cli/ffi_binary_test.ts` makes one with the
 * permissions of `deno task compile:ffi`, and runs it. Prints a line for each test that fails, and what passed; exit code 1 if one failed.
 *
 * @module
 */
interface Test {
  readonly name: string;
  readonly ignore?: boolean;
  readonly fn: () => void | Promise<void>;
}

const tests: Test[] = [];
// A compiled program has no test runner.
Object.defineProperty(Deno, "test", {
  value: (first: string | Test, fn?: Test["fn"]) =>
    void tests.push(typeof first === "string" ? { name: first, fn: fn! } : first),
});
await import("./driver_test.ts");

let failed = 0;
const toRun = tests.filter(({ ignore }) => !ignore);
for (const { name, fn } of toRun) {
  try {
    await fn();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${(error as Error).stack}`);
  }
}
console.log(`${toRun.length - failed} passed, ${failed} failed`);
Deno.exit(failed > 0 || toRun.length === 0 ? 1 : 0);
