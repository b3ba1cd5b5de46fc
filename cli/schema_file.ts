/**
 * The schema that a flag names. A compiled binary has no TypeScript compiler: it is told so, with the way out.
 *
 * @module
 */
import { loadSchema, type Schema } from "../schema.ts";
import { CommandError } from "./command.ts";

/** @throws SchemaError, SyncError or {@link CommandError}, one line each */
export async function loadSchemaFile(file: string): Promise<Schema> {
  if (Deno.build.standalone && /\.[cm]?[jt]sx?$/.test(file)) {
    throw new CommandError(
      `this binary can't load ${file}: a compiled program takes JSON or JSON5; ` +
        `deno run -A mod.ts schema json ${file} prints it as JSON`,
    );
  }
  return await loadSchema(file);
}
