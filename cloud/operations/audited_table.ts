/**
 * A data table that notes every write in the audit before it is made: code that only has this table cannot write
 * unseen.
 *
 * @module
 */
import { keyOf, modelOf } from "../../schema.ts";
import type { Schema } from "../../schema/model.ts";
import type { DataTable, Write } from "../table/port.ts";

/** Notes the write that follows. */
export type Note = (action: string, target: string) => Promise<void>;

/** Keys that one entry names. */
const keysMax = 20;

/** The table, with its writes noted. */
export function auditedTable(schema: Schema, data: DataTable, note: Note): DataTable {
  const textOf = (write: Write) => {
    if (write.op === "delete") return JSON.stringify(write.key);
    return `${modelOf(schema, write.item)?.name ?? "?"} ${JSON.stringify(keyOf(schema, write.item))}`;
  };
  return {
    get: (keys) => data.get(keys),
    query: (query) => data.query(query),
    scan: (options) => data.scan(options),
    stream: (options) => data.stream(options),
    close: () => data.close(),
    async write(writes, options) {
      for (const op of ["put", "delete"] as const) {
        const texts = writes.filter((write) => write.op === op).map(textOf);
        for (let at = 0; at < texts.length; at += keysMax) {
          await note(`items.${op}`, texts.slice(at, at + keysMax).join(", "));
        }
      }
      return await data.write(writes, options);
    },
  };
}
