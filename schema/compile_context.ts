/**
 * The context in which the parts of a schema are compiled.
 *
 * @module
 */
import type { Carried } from "./carried.ts";
import type { Index } from "./model.ts";
import type { Problems } from "./normalise.ts";
import type { Params } from "./settings.ts";

/** What is known of the schema before its models. */
export interface SchemaContext {
  readonly params: Params;
  readonly primary: Index;
  readonly indexes: readonly Index[];
  readonly carried: Carried;
}

/** Of one model: its own problems. */
export interface ModelContext extends SchemaContext {
  readonly problems: Problems;
}

/** An object with the member, or without it if there is no value. */
export function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: V };
}
