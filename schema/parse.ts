/**
 * From a file or text to a compiled schema: JSON5, `blend`, and TypeScript modules.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import json5 from "npm:json5@^2.2.3";
import { blend } from "./blend.ts";
import { type CompileOptions, compileSchema } from "./compile.ts";
import { SchemaError, SyncError } from "./errors.ts";
import type { Schema } from "./model.ts";
import { isMap } from "./values.ts";

/** Files that one schema may name: more is a mistake. */
const filesMax = 100;

/**
 * Reads a schema's text: JSON or JSON5. The result is checked by `compileSchema`.
 *
 * @throws SchemaError if the text is neither.
 */
export function parseSchema(text: string): unknown {
  try {
    return json5.parse(text);
  } catch (error) {
    throw new SchemaError([`it is not JSON5: ${messageOf(error)}`], { cause: error });
  }
}

/**
 * Reads and compiles a schema file: `.json`, `.json5`, or a module (`.ts`, `.js`, `.mjs`) that exports the schema as
 * its default or as `schema`. Files in `blend` are read relative to the file that names them, and merged into it in
 * order (`blend.ts`): the blended file wins. A `blend` in a blended file is not followed; a warning says so.
 *
 * @throws SchemaError (code `schema`) if a file is not a schema or can't be compiled, SyncError (code `schema-file`) if
 * one can't be read.
 */
export async function loadSchema(path: string | URL, options: CompileOptions = {}): Promise<Schema> {
  const file = path instanceof URL ? fileURLToPath(path) : resolve(path);
  const { source, notes } = await readBlended(file);
  try {
    return compileSchema(source, { ...options, notes });
  } catch (error) {
    if (error instanceof SchemaError) throw new SchemaError(error.problems, { file: String(path), cause: error });
    throw error;
  }
}

async function readBlended(file: string): Promise<{ source: unknown; notes: string[] }> {
  const source = await readSource(file), notes: string[] = [];
  if (!isMap(source) || source.blend === undefined) return { source, notes };
  const { blend: names, ...own } = source;
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string") || names.length > filesMax) {
    throw new SchemaError([`"blend" must be a list of ${filesMax} file names at most`], { file });
  }
  let blended: unknown = own;
  for (const name of names) {
    const over = await readSource(resolve(file, "..", name));
    if (!isMap(over)) throw new SchemaError([`"blend" names ${JSON.stringify(name)}, which holds no object`], { file });
    const { blend: deeper, ...rest } = over;
    if (deeper !== undefined) notes.push(`the "blend" in ${JSON.stringify(name)} is not followed: name its files here`);
    blended = blend(blended, rest);
  }
  return { source: blended, notes };
}

async function readSource(file: string): Promise<unknown> {
  if (/\.[cm]?[jt]s$/.test(file)) return await importSource(file);
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new SyncError("schema-file", `can't read the schema ${JSON.stringify(file)}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  try {
    return parseSchema(text);
  } catch (error) {
    if (error instanceof SchemaError) throw new SchemaError(error.problems, { file, cause: error });
    throw error;
  }
}

async function importSource(file: string): Promise<unknown> {
  let module: { default?: unknown; schema?: unknown };
  try {
    module = await import(pathToFileURL(file).href);
  } catch (error) {
    throw new SyncError("schema-file", `can't load the schema ${JSON.stringify(file)}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const source = module.default ?? module.schema;
  if (source === undefined) throw new SchemaError(['it exports neither a default nor "schema"'], { file });
  return source;
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}
