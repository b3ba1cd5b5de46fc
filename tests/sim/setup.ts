/**
 * What a run is made of: chosen by its seed within a family, and what follows from that.
 *
 * @module
 */
import type { Model, Schema } from "../../schema/model.ts";
import type { CloudOptions } from "./cloud.ts";
import { simSchema } from "./schema.ts";

/** When virtual time begins. */
export const startMs = Date.UTC(2027, 0, 15);

/**
 * Writes of cloud applications. `put` replaces, with or without an attribute that the schema lacks; `update` sets one
 * attribute and leaves every hidden one and `updated`; `bump` sets `updated` too; `future` puts it two days ahead;
 * `stamped` gives the item a version of the application's own, perhaps of a time to come.
 */
export type ExternalKind = "put" | "update" | "bump" | "future" | "stamped" | "delete";

/** What a run is made of, as plain data: chosen by its seed within a family, or written down. */
export interface Setup extends Omit<CloudOptions, "schema"> {
  readonly devices: number;
  /** Devices that run on a copy of the first one's identity. */
  readonly clones: number;
  /** Items have an `updated` timestamp. */
  readonly timed: boolean;
  /** The cloud refuses some values that the devices take. */
  readonly refusing: boolean;
  /** What the cloud would refuse it can't even read: it answers a batch that has such a change as a whole. */
  readonly poisoned?: boolean;
  /** Items have an object of odd values: see `schema.ts`. */
  readonly odd?: boolean;
  readonly modelNames: readonly string[];
  /** Item names in play: few, so that writers meet. */
  readonly names: readonly string[];
  /** Everything is connected, caught up and has written once before the first step. */
  readonly warm: boolean;
  /** Changes in a batch, and items in a page: few, so that several are under way. */
  readonly batchChangesMax: number;
  /** How likely a message is to have a copy that comes late. */
  readonly copies: number;
  /** Errors of the devices' clocks. */
  readonly skewsMs: readonly number[];
  readonly external: readonly ExternalKind[];
  /** Nothing is lost, repeated or late: the strictest oracles apply. */
  readonly still: boolean;
  /** Items may have an expiry time; devices and the cloud delete them when it has come. */
  readonly expiring?: boolean;
  /** Items have an attribute `u`, unique on a device, of few values: some wait for others to go. */
  readonly unique?: boolean;
  /** Devices and clouds change to another version of the schema and back. */
  readonly back?: boolean;
  /** The broker swallows or damages messages without a word. */
  readonly silent?: boolean;
  /** Somebody who writes no version overwrites what devices wrote, and removes it. */
  readonly usurped?: boolean;
  /** One device is the only writer. */
  readonly alone: boolean;
  /** Devices take messages of one moment together. */
  readonly gathers?: boolean;
  /** Answers come at once, so that every clock is known well: the newer change wins. */
  readonly prompt: boolean;
  /** Who has the next version of the schema from the start; the others may come to it. Undefined: there is one version. */
  readonly newer?: { readonly cloud: boolean; readonly devices: readonly boolean[] };
}

/** A {@link Setup} with what follows from it. */
export interface Config extends Setup {
  readonly schema: Schema;
  /** The next version of it. */
  readonly newerSchema: Schema;
  readonly cloudSchema: Schema;
  readonly models: readonly Model[];
}

/** What follows from a setup. */
export function configOf(setup: Setup): Config {
  const { modelNames, timed, refusing, newer, expiring, odd, unique } = setup, kind = { timed, expiring, odd, unique };
  const schema = simSchema(modelNames, kind), newerSchema = simSchema(modelNames, { ...kind, newer: true });
  const cloudSchema = simSchema(modelNames, { ...kind, refusing, newer: newer?.cloud });
  const nextSchema = newer && simSchema(modelNames, { ...kind, refusing, newer: true });
  return {
    ...setup,
    schema,
    newerSchema,
    cloudSchema,
    nextSchema,
    formerSchema: newer && setup.back ? simSchema(modelNames, { ...kind, refusing }) : undefined,
    models: modelNames.map((name) => schema.models.get(name)!),
  };
}
