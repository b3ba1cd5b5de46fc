/**
 * What devices keep in the open: `_conflicts` and `_rejected`.
 *
 * @module
 */
import type { SimDevice } from "./device.ts";

/** Values and removals that lost and were kept, by device. */
export class Kept {
  readonly #values = new Set<string>();

  constructor(devices: readonly SimDevice[]) {
    for (const { name, store } of devices) {
      for (const table of ["_conflicts", "_rejected"]) {
        for (const row of store.db.sql(`SELECT model, key, item FROM ${table}`).all()) {
          const item = row.item === null ? null : JSON.parse(row.item as string) as Record<string, unknown> | null;
          if (item === null) this.#values.add(`${name} removed ${row.model} ${JSON.parse(row.key as string).name}`);
          else for (const field of ["v", "w", "x"]) this.#values.add(`${name} ${field} ${item[field]}`);
        }
      }
    }
  }

  has(device: string, field: string, value: number | string): boolean {
    return this.#values.has(`${device} ${field} ${value}`);
  }

  hasRemoval(device: string, model: string, item: string): boolean {
    return this.#values.has(`${device} removed ${model} ${item}`);
  }
}
