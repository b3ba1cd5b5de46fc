/**
 * From a file or text to a compiled schema: JSON5, `blend`, and TypeScript modules.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import json5 from "json5";
import { compileSchema } from "./compile.ts";
import { SchemaError, SyncError } from "./errors.ts";
import type { Schema } from "./model.ts";
import { isMap } from "./values.ts";

/** Files that one schema may be blended from, itself included: more is a mistake. */
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
 * Reads and compiles a schema file: `.json`, `.json5`, or a module (`.ts`, `.js`, `.mjs`) that exports the schema as its
 * default or as `schema`. Files in `blend` are read relative to the file that names them, and merged in order, map by
 * map; what the naming file itself says comes last and wins.
 *
 * @throws SchemaError (code `schema`) if a file is no schema or can't be compiled, SyncError (code `schema-file`) if one can't be read.
 */
export async function loadSchema(path: string | URL): Promise<Schema> {
  const file = path instanceof URL ? fileURLToPath(path) : resolve(path);
  const source = await readBlended(file, [], { count: 0 });
  try {
    return compileSchema(source);
  } catch (error) {
    if (error instanceof SchemaError) throw new SchemaError(error.problems, { file: String(path), cause: error });
    throw error;
  }
}

async function readBlended(file: string, above: readonly string[], read: { count: number }): Promise<unknown> {
  if (above.includes(file)) {
    throw new SchemaError([`"blend" goes round in a circle: ${[...above, file].join(" → ")}`]);
  }
  if (++read.count > filesMax) throw new SchemaError([`"blend" names more than ${filesMax} files`]);
  const source = await readSource(file);
  if (!isMap(source) || source.blend === undefined) return source;
  const { blend, ...own } = source;
  if (!Array.isArray(blend) || !blend.every((name) => typeof name === "string")) {
    throw new SchemaError(['"blend" must be a list of file names'], { file });
  }
  let merged: unknown = {};
  for (const name of blend) {
    merged = merge(merged, await readBlended(resolve(file, "..", name), [...above, file], read));
  }
  return merge(merged, own);
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

/** Maps are merged key by key; of everything else the later one stands. Constructors and dates are no maps. */
function merge(base: unknown, over: unknown): unknown {
  if (!isPlainMap(base) || !isPlainMap(over)) return over;
  const merged = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(over)) {
    merged.set(key, merged.has(key) ? merge(merged.get(key), value) : value);
  }
  return Object.fromEntries(merged);
}

function isPlainMap(value: unknown): value is Record<string, unknown> {
  if (!isMap(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}
