/**
 * Whether a device and the table say the same.
 *
 * @module
 */
import assert from "node:assert/strict";
import { query, type Row } from "./sql.ts";
import type { TestCloud } from "./test_cloud.ts";

/** The timestamps, and the attributes that most models of the tests have. */
export const usualNames = ["name", "value", "text", "created", "updated"] as const;

/**
 * Asserts that a device's rows of a model are the table's items of it, attribute by attribute, in the order of their keys.
 * Gives the rows.
 *
 * @param device whose items are meant, in a model that each device has its own of
 */
export async function assertTwinned(
  cloud: TestCloud,
  path: string,
  model: string,
  names: readonly string[] = usualNames,
  device?: string,
): Promise<Row[]> {
  const rows = query(path, `SELECT ${names.join(", ")} FROM ${model} ORDER BY pk, sk`);
  const items = (await cloud.items(model)).filter((item) => device === undefined || item.deviceId === device);
  assert.deepEqual(items.map((item) => Object.fromEntries(names.map((name) => [name, item[name] ?? null]))), rows);
  return rows;
}
