/**
 * What a broker retains of erased devices: the last word on whether each was connected. An erasure leaves a mark in the log
 * table, whoever made it, the command line included; a worker, or a handler that publishes, clears the broker's message and then
 * the mark. A crash in between clears once more what is clear.
 *
 * In the log table: `retained` / `<device>`: `{at, expires}`. Erasures are seldom: one hash value takes them all.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { Item } from "../../schema/values.ts";
import type { Publisher } from "../publishers/port.ts";
import type { Registry } from "../sync/registry.ts";
import type { Table } from "../table/port.ts";

/** How often a worker looks: a small query. */
export const clearEveryMs = 60_000;
/** Nobody publishes for so long: the mark goes by itself. */
const keptSeconds = 30 * 86_400;
const atOnce = 100;
const hash = "retained";
const logger = new Log("cloud");

/** A mark. */
export function retainedMark(deviceId: string, nowMs: number): Item {
  return { hash, sort: deviceId, at: nowMs, expires: Math.ceil(nowMs / 1000) + keptSeconds };
}

/** What clears. */
export interface RetainedContext {
  /** The log table. */
  readonly table: Table;
  readonly registry: Pick<Registry, "identityOf">;
  readonly publisher: Pick<Publisher, "forget">;
}

/** Clears what is marked. Never rejects: the marks stay, and the next time is soon. */
export async function clearRetained({ table, registry, publisher }: RetainedContext): Promise<void> {
  if (!publisher.forget) return;
  try {
    const { items } = await table.query({ index: "primary", hash, limit: atOnce });
    for (const { sort } of items) {
      const deviceId = String(sort);
      // One of its name that was added since says itself whether it is there.
      if (!await registry.identityOf(deviceId)) await publisher.forget(deviceId);
      await table.write([{ op: "delete", key: [hash, deviceId] }]);
    }
  } catch (error) {
    logger.warn("what the broker retains of erased devices is not cleared yet: {error}", { error });
  }
}

/** Clears regularly. @returns what ends that */
export function clearRegularly(context: RetainedContext, everyMs = clearEveryMs): () => void {
  let isBusy = false;
  const timer = setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    clearRetained(context).finally(() => isBusy = false);
  }, everyMs);
  return () => clearInterval(timer);
}
