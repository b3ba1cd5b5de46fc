/**
 * What `doctor` looks at in the cloud's tables. Loaded apart: the program of a device does not have it.
 *
 * @module
 */
import type { Schema } from "../../schema.ts";
import { describeFault } from "../command.ts";
import { openTables } from "../tables.ts";
import { type Finding, ok, wrong } from "./finding.ts";

/** Whether the tables are there, can be read, and are as the schema wants: keys, indexes, stream, expiry. */
export async function examineTables(url: string, schema: Schema): Promise<Finding[]> {
  try {
    const tables = await openTables(url, { schema, shared: true, existing: true });
    try {
      await Promise.all([tables.data, tables.log].map((table) => table.get([["twintable#probe", "probe"]])));
      const differences = await tables.check?.() ?? [];
      if (differences.length === 0) return [ok("table", "the tables are there, and as the schema wants")];
      return differences.map((text) => wrong("table", text, "cloud table create completes what is missing"));
    } finally {
      await tables.close();
    }
  } catch (error) {
    return [wrong("table", describeFault(error), "check the URL, the region, the credentials and their permissions")];
  }
}
