/**
 * Reads items from the embedded table. This adapter wrote most of them; anybody's SQL may have written others, and the
 * table accepts any JSON.
 *
 * Guarantee: every row is an item, and reading one cannot fail because of another. Its key is the row's, whatever the
 * text says. A map that looks like a tag without being one means itself. A text that is not a map, or that holds a
 * number which no table can hold, is an item of no model: no device gets it, and no write replaces it unseen.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Key } from "../../protocol.ts";
import { parseJson } from "../../schema.ts";
import { mayLookTagged } from "../../schema/json.ts";
import type { Index } from "../../schema/model.ts";
import { readTagged } from "../../schema/tagged.ts";
import { isMap, type Item, type Json } from "../../schema/values.ts";

const log = new Log("cloud");
/** Keys that were already logged: listings return the same ones again and again. */
const told = new Set<string>();
const toldMax = 1000;

/** A value as `wholeSql` gives it. */
export function wholeOf<T>(value: T | Uint8Array): T {
  return value instanceof Uint8Array ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(value) as T : value;
}

/** The item that a row's text is. */
export function readItem(primary: Index | undefined, [hash, sort]: Key, text: string): Item {
  const item = parsed(text) ?? unreadable(hash, sort);
  if (!primary) return item;
  const isKeyOf = item[primary.hash] === hash && (primary.sort === undefined || item[primary.sort] === sort);
  if (isKeyOf) return item;
  return { ...item, [primary.hash]: hash, ...(primary.sort === undefined ? {} : { [primary.sort]: sort }) };
}

function parsed(text: string): Item | undefined {
  try {
    const item = parseJson(text);
    if (!isMap(item)) return undefined;
    return mayLookTagged(text) ? withReadValues(item) : item;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The item itself is not a value: a single attribute `$x` is an attribute. */
function withReadValues(item: Item): Item {
  let read: Map<string, Json> | undefined;
  for (const [name, value] of Object.entries(item)) {
    const member = readTagged(value);
    if (member !== value) (read ??= new Map(Object.entries(item))).set(name, member);
  }
  return read ? Object.fromEntries(read) : item;
}

function unreadable(hash: string, sort: string): Item {
  const key = `${hash} ${sort}`;
  if (!told.has(key) && told.size < toldMax) {
    told.add(key);
    log.warn("the embedded table has an item that can't be read, which is left alone: {key}", { key });
  }
  return {};
}
