/**
 * The schema in a flag, or the one in a compiled program. A compiled binary has no TypeScript compiler: the error says
 * so, and what to do.
 *
 * @module
 */
import { type CompileOptions, compileSchema, loadSchema, type OneTableSchema, type Schema } from "../schema.ts";
import { UsageError } from "./args.ts";
import { CommandError } from "./command.ts";

let builtIn: OneTableSchema | undefined;

/** Makes a schema part of the program: it is used if no file is named. */
export function buildIn(source: OneTableSchema): void {
  builtIn = source;
}

/** Whether there is a schema: a file that is named, or a built-in one. */
export function hasSchema(file: string | undefined): boolean {
  return file !== undefined || builtIn !== undefined;
}

/** @throws {UsageError} if there is none */
export function checkSchemaFlag(file: string | undefined): void {
  if (!hasSchema(file)) throw new UsageError("--schema FILE is missing");
}

/** @throws SchemaError, SyncError, {@link UsageError} or {@link CommandError}, one line each */
export async function loadSchemaFile(file: string | undefined, options: CompileOptions = {}): Promise<Schema> {
  checkSchemaFlag(file);
  if (file === undefined) return compileSchema(builtIn!, options);
  if (Deno.build.standalone && /\.[cm]?[jt]sx?$/.test(file)) {
    throw new CommandError(
      `this binary can't load ${file}: a compiled program takes JSON or JSON5; ` +
        `deno run -A mod.ts schema json ${file} prints it as JSON`,
    );
  }
  return await loadSchema(file, options);
}
