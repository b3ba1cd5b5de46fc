/**
 * The library of the device's side, of schemas and of the wire's types: what `mod.ts` exports, without the command line. It runs on
 * Deno, and on Node 22 and later (`deno task bundle:node`).
 *
 * @module
 */
export {
  Agent,
  type AgentOptions,
  type AgentStatus,
  type Difference,
  type Kept,
  type KeptApi,
  type KeptList,
  openAgent,
  type Problem,
  type ProblemName,
  type VerifyOptions,
  type VerifyReport,
  type WaitOptions,
  type WatchedChange,
  type WatchOptions,
} from "./agent.ts";
export type { Counters, Limits } from "./sync/context.ts";
export type {
  AllOf,
  Condition,
  FindOptions,
  MemberOf,
  ModelApi,
  Page,
  UpdateOf,
  UpdateParams,
  Where,
} from "./api/models.ts";
export type { Clock, Transport, TransportHandlers } from "./ports.ts";
export type { FromCloud, FromDevice, Key, Message, Version } from "../protocol.ts";
export {
  checkId,
  compileSchema,
  type CreateOf,
  defineSchema,
  type ItemOf,
  type KeyOf,
  loadSchema,
  type OneTableField,
  type OneTableModel,
  type OneTableProcess,
  type OneTableSchema,
  type Schema,
  SchemaError,
  SyncError,
} from "../schema.ts";
