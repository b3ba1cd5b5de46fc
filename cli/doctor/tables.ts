/**
 * The checks of `doctor` on the cloud's tables. Loaded separately: a device's program does not have it.
 *
 * @module
 */
import type { Schema } from "../../schema.ts";
import { describeFault } from "../command.ts";
import { openTables } from "../tables.ts";
import { type Finding, ok, wrong } from "./finding.ts";

/** Whether the tables exist, can be read, and match the schema: keys, indexes, stream, expiry. */
export async function examineTables(url: string, schema: Schema): Promise<Finding[]> {
  try {
    const tables = await openTables(url, { schema, shared: true, existing: true });
    try {
      await Promise.all([tables.data, tables.log].map((table) => table.get([["twintable#probe", "probe"]])));
      const differences = await tables.check?.() ?? [];
      if (differences.length === 0) return [ok("table", "the tables exist and match the schema")];
      return differences.map((text) => wrong("table", text, "cloud table create completes what is missing"));
    } finally {
      await tables.close();
    }
  } catch (error) {
    return [wrong("table", describeFault(error), "check the URL, the region, the credentials and their permissions")];
  }
}
