/**
 * Schemas: one OneTable schema says what the models are, where they exist and which way they are synced. This module
 * parses, validates and compiles it, and turns items into what travels and back. Both halves, agent and cloud, know
 * schemas only through it.
 *
 * @example
 * ```ts
 * import { compileSchema } from "./schema.ts";
 * const schema = compileSchema({
 *   version: "0.0.1",
 *   indexes: { primary: { hash: "pk", sort: "sk" } },
 *   models: {
 *     Setting: {
 *       pk: { type: "string", value: "setting#${deviceId}" },
 *       sk: { type: "string", value: "setting#${name}" },
 *       deviceId: { type: "string", required: true },
 *       name: { type: "string", required: true },
 *       value: { type: "number" },
 *     },
 *   },
 *   process: { Setting: { sync: "both" } },
 * });
 * if (schema.models.get("Setting")?.scope !== "device") throw new Error("unexpected");
 * ```
 *
 * @module
 */
export { checkAttributes } from "./schema/check.ts";
export { compiledOf, type CompileOptions, compileSchema } from "./schema/compile.ts";
export { dateToJson, expiryAgeMaxMs, isExpired, jsonToDate } from "./schema/dates.ts";
export { SchemaError, SyncError, type SyncErrorCode, syncErrorCodes, type SyncErrorOptions } from "./schema/errors.ts";
export { generateValue, ulid, uuid } from "./schema/generate.ts";
export { type IdentityNames, identityProblem, type IdentityRole, idIn, roleOf } from "./schema/identity.ts";
export {
  channelOf,
  channelsOf,
  completeItem,
  fieldOf,
  fieldOfAttribute,
  idOfItem,
  keyOf,
  modelOf,
  renderKey,
  stripItem,
  versionOf,
} from "./schema/item.ts";
export { canonicalJson, digest, jsonEquals, parseJson, parsePlain } from "./schema/json.ts";
export type {
  ConflictPolicy,
  DateRule,
  DateUnit,
  Dimension,
  Enumeration,
  Field,
  FieldType,
  Identity,
  Index,
  Metric,
  Model,
  Notify,
  NotifyEvent,
  NotifyTarget,
  NotifyTest,
  Schema,
  Scope,
  SyncDirection,
} from "./schema/model.ts";
export { haveEqualKeys, modelDigest } from "./schema/model_digest.ts";
export { checkId, isId } from "./schema/names.ts";
export { canonicalDecimal, isBigNumber, jsonToNumberText, keyNumberText, numberToJson } from "./schema/numbers.ts";
export { loadSchema, parseSchema } from "./schema/parse.ts";
export { fromPlain, type PlainContext, toPlain, unknownNames } from "./schema/plain.ts";
export { parseTemplate, renderTemplate, type Template, templateFields, type TemplatePart } from "./schema/template.ts";
export {
  type CreateOf,
  defineSchema,
  type ItemOf,
  type KeyOf,
  type ModelName,
  type OneTableField,
  type OneTableModel,
  type OneTableProcess,
  type OneTableSchema,
  type OneTableType,
  type ValueOf,
} from "./schema/types.ts";
export {
  type Attributes,
  base64ToBytes,
  binaryToItem,
  binaryToJson,
  bytesToBase64,
  escape,
  isMap,
  isTagged,
  type Item,
  itemToBinary,
  type Json,
  jsonToBinary,
  setOf,
  sourceAttribute,
  stampAttribute,
  type Tag,
  tagOf,
  unescape,
} from "./schema/values.ts";
