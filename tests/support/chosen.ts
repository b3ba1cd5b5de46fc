/**
 * What the end-to-end tests run on: the embedded table and broker, or what `TWINTABLE_E2E_TABLE` and `TWINTABLE_E2E_BROKER` name of
 * `tableKinds` and `brokerKinds`. `deno task test:everywhere` runs the whole suite on each pair.
 *
 * @module
 */
import { type BrokerKind, brokerKinds, tableKinds, type TableSource } from "./world.ts";

function named<T extends { readonly name: string; readonly missing: string | undefined }>(
  kinds: readonly T[],
  variable: string,
): T {
  const name = Deno.env.get(variable) ?? kinds[0]!.name;
  const kind = kinds.find((one) => one.name === name);
  if (!kind) throw new Error(`${variable} is ${name}: one of ${kinds.map((one) => one.name).join("; ")} is required`);
  // Who asks for it wants to see it, and not a skip.
  if (kind.missing !== undefined) throw new Error(`${variable}: ${kind.missing}`);
  return kind;
}

/** The broker of a test cloud. */
export const chosenBroker: BrokerKind = named(brokerKinds, "TWINTABLE_E2E_BROKER");

/** Where a test cloud gets its tables; undefined: embedded ones of its own. One emulator serves a test file. */
export const chosenTables: TableSource | undefined = await startChosen();

async function startChosen(): Promise<TableSource | undefined> {
  if (!Deno.env.has("TWINTABLE_E2E_TABLE")) return undefined;
  const kind = named(await tableKinds(), "TWINTABLE_E2E_TABLE");
  if (kind.name === "embedded") return undefined;
  const source = await kind.start();
  Deno.test.afterAll(() => source.stop());
  return source;
}
