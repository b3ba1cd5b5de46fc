/**
 * What `--trace` tells of a run besides its steps: each message as it is delivered, each local commit, each change of the
 * table, and in the end what the agents' own tables hold.
 *
 * @module
 */
import type { StreamRecord } from "../../cloud/table/port.ts";
import type { SimDevice } from "./device.ts";
import type { Effect } from "./workload.ts";

const shownChars = 400;

/** Takes lines; see the module. */
export class Trace {
  constructor(readonly line: (text: string) => void, readonly nowMs: () => number) {}

  #tell(text: string): void {
    this.line(`  ${new Date(this.nowMs()).toISOString().slice(11)} ${text.slice(0, shownChars)}`);
  }

  delivered(to: "cloud" | "device", { name }: SimDevice, payload: Uint8Array): void {
    this.#tell(`${to === "cloud" ? `${name} → cloud` : `cloud → ${name}`} ${new TextDecoder().decode(payload)}`);
  }

  committed({ name, skewMs }: SimDevice, model: string, effects: readonly Effect[]): void {
    this.#tell(`${name} commits ${model} ${JSON.stringify(effects)}, its clock ${skewMs} ms ahead`);
  }

  changed({ key, new: item }: StreamRecord): void {
    this.#tell(`table ${key.join("|")} := ${JSON.stringify(item ?? null)}`);
  }

  /** The agent's memory of keys, channels and what it keeps. */
  state({ name, store }: SimDevice): void {
    for (const table of ["_sync_items", "_sync_channels", "_outbox", "_inflight", "_conflicts", "_rejected"]) {
      const rows = store.db.sql(`SELECT * FROM ${table}`).all();
      if (rows.length > 0) this.line(`  ${name} ${table} ${JSON.stringify(rows)}`);
    }
  }
}
