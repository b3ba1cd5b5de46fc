/**
 * The library of the device's side, of schemas and of the wire's types: the exports of `mod.ts` without the command
 * line. It runs on Deno, and on Node 22 and later (`deno task bundle:node`).
 *
 * @module
 */
export { Agent } from "./agent.ts";
export { openAgent } from "./open.ts";
export type { AgentOptions, AgentStatus, KeptApi, WaitOptions } from "./types.ts";
export type { Kept, KeptList } from "./store/kept.ts";
export type { Problem, ProblemName } from "./upkeep/problems.ts";
export type { Difference, VerifyOptions, VerifyReport } from "./verify/report.ts";
export type { WatchedChange, WatchOptions } from "./api/watchers.ts";
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
export type { DeviceReport } from "../protocol/report.ts";
export { problemNames } from "./upkeep/problems.ts";
export type { ModelReport } from "./verify/report.ts";
export type {
  Ack,
  Answer,
  Base,
  Change,
  Changes,
  Channel,
  Compare,
  Current,
  CursorOf,
  Digests,
  Entry,
  Fetch,
  FromCloud,
  FromDevice,
  ItemDigest,
  Items,
  KeptName,
  Key,
  Later,
  Mark,
  Message,
  OfTable,
  Order,
  Ordered,
  OrderKind,
  Page as ChannelPage,
  Probe,
  RangeDigest,
  RefusalCode,
  Refused,
  Renew,
  Renewed,
  Restored,
  SnapshotPage,
  Sync,
  Time,
  Told,
  Up,
  Verified,
  Verify,
  Version,
} from "../protocol.ts";
export type { Annotation } from "../schema/carried.ts";
export type { KeyIdentity, Locator } from "../schema/key_identity.ts";
export type {
  DateRule,
  DateUnit,
  Dimension,
  Encoded,
  Metric,
  Notify,
  NotifyEvent,
  NotifyTarget,
  NotifyTest,
} from "../schema/model.ts";
export {
  type Attributes,
  checkId,
  type CompileOptions,
  compileSchema,
  type ConflictPolicy,
  type CreateOf,
  defineSchema,
  type Enumeration,
  type Field,
  type FieldType,
  type Identity,
  type IdentityNames,
  type IdentityRole,
  type Index,
  type ItemOf,
  type Json,
  type KeyOf,
  loadSchema,
  type Model,
  type ModelName,
  type OneTableField,
  type OneTableModel,
  type OneTableProcess,
  type OneTableSchema,
  type OneTableType,
  type Schema,
  SchemaError,
  type Scope,
  type SyncDirection,
  SyncError,
  type SyncErrorCode,
  syncErrorCodes,
  type SyncErrorOptions,
  type Template,
  type TemplatePart,
} from "../schema.ts";
