/**
 * The embedded tables: see `embedded/tables.ts`.
 *
 * @module
 */
export type { Synchronous } from "./embedded/engine.ts";
export { type EmbeddedOptions, type EmbeddedTables, openEmbedded } from "./embedded/tables.ts";
