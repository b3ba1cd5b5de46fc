/**
 * Stream records, as the streams API returns them, and as a Lambda function or an EventBridge pipe gets them, converted
 * to the port's records.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Schema } from "../../schema/model.ts";
import type { StreamRecord } from "../table/port.ts";
import { type AttributeValues, fromAttributeValues } from "./attribute_value.ts";
import { dataShape, keyOfItem, type TableShape } from "./keys.ts";

/** The parts of a record's `dynamodb` member that are read, in the SDK's form and in that of stream events. */
export interface StreamImages {
  readonly Keys?: Readonly<Record<string, unknown>>;
  readonly OldImage?: Readonly<Record<string, unknown>>;
  readonly NewImage?: Readonly<Record<string, unknown>>;
  readonly SequenceNumber?: string;
  readonly ApproximateCreationDateTime?: Date | number;
}

/** Who made a change, in the SDK's form and in that of stream events: set if DynamoDB itself did. */
export interface UserIdentity {
  readonly Type?: unknown;
  readonly PrincipalId?: unknown;
  readonly type?: unknown;
  readonly principalId?: unknown;
}

/** Whether DynamoDB removed the item because its time had come. */
function isExpiry({ Type, PrincipalId, type, principalId }: UserIdentity): boolean {
  return (Type ?? type) === "Service" && (PrincipalId ?? principalId) === "dynamodb.amazonaws.com";
}

/** A record of an event, or why it is not one, with the name by which its failure is reported. */
export interface EventRecord {
  readonly record?: StreamRecord;
  /** The stream lacks images: it must be reconfigured, and then deliver the record again. */
  readonly lacks?: string;
  /** It does not belong to this table, or is unreadable: delivering it again would not help. */
  readonly unreadable?: string;
  /** `itemIdentifier` in `batchItemFailures`: the sequence number for Lambda, the event's id for EventBridge Pipes. */
  readonly failureId: string;
}

/** Recognises wanted records: those with an image whose typeField is not an unwanted type. */
export function wantedImages(typeField: string, unwanted: readonly string[]): (images: StreamImages) => boolean {
  const types: ReadonlySet<unknown> = new Set(unwanted);
  const isWanted = (image: StreamImages["NewImage"] | null) => {
    const type = image?.[typeField] as { readonly S?: unknown } | undefined;
    return image != null && !types.has(type?.S);
  };
  return ({ OldImage, NewImage }) => isWanted(NewImage) || isWanted(OldImage) || (!NewImage && !OldImage);
}

/** The SDK gives a Date, an event seconds since 1970. */
function timeOf(time: unknown): number | undefined {
  if (time instanceof Date) return time.getTime();
  return typeof time === "number" && Number.isFinite(time) ? time * 1000 : undefined;
}

/**
 * One record as the port has it.
 *
 * @throws SyncError `invalid` if it lacks its keys: a stream of another table.
 */
export function toStreamRecord(shape: TableShape, images: StreamImages, who?: UserIdentity | null): StreamRecord {
  const image = (values: unknown) => {
    if (values === undefined || values === null) return undefined;
    if (typeof values !== "object") throw new SyncError("invalid", "a stream record with an image that is not a map");
    return fromAttributeValues(values as AttributeValues);
  };
  const keys = image(images.Keys);
  const key: Key | undefined = keys && keyOfItem(shape, keys);
  if (!key) {
    throw new SyncError("invalid", `a stream record without the key attributes of the table "${shape.name}"`, {
      hint: "is it the stream of another table?",
    });
  }
  const old = image(images.OldImage), fresh = image(images.NewImage);
  const expired = who && !fresh && isExpiry(who);
  const atMs = timeOf(images.ApproximateCreationDateTime);
  return {
    ...(images.SequenceNumber === undefined ? {} : { id: images.SequenceNumber }),
    ...(atMs === undefined ? {} : { atMs }),
    key,
    ...(old ? { old } : {}),
    ...(fresh ? { new: fresh } : {}),
    ...(expired ? { expired } : {}),
  };
}

/**
 * The records of an event in its order: a Lambda event (`{Records: […]}`) or what EventBridge Pipes posts (the array
 * itself). An empty event is allowed. Each record is read by itself.
 *
 * @throws SyncError `invalid` if the event is of another shape; nothing of it should then be handled.
 */
export function recordsFromLambda(schema: Schema, event: unknown): EventRecord[] {
  const shape = dataShape(schema, "");
  const pipe = Array.isArray(event);
  const list = pipe ? event : (event as { readonly Records?: unknown } | null)?.Records;
  if (!Array.isArray(list)) throw new SyncError("invalid", "the event is not a batch of DynamoDB stream records");
  const isForeign = (entry: EventEntry | null) => typeof entry?.dynamodb !== "object" || entry.dynamodb === null;
  const isMixed = !list.every(isForeign);
  return list.map((entry: EventEntry | null, at) => {
    const images = entry?.dynamodb;
    // Whatever it is, it concerns only itself; an event of nothing else is no event of ours.
    if (isMixed && isForeign(entry)) return { failureId: "", unreadable: `record ${at} is of no DynamoDB stream` };
    const failureId = pipe ? entry?.eventID : images?.SequenceNumber;
    if (typeof images !== "object" || images === null || typeof failureId !== "string") {
      throw new SyncError("invalid", `record ${at} of the event is no DynamoDB stream record`);
    }
    const lacks = lacking(entry!);
    if (lacks !== undefined) return { failureId, lacks };
    try {
      return { failureId, record: toStreamRecord(shape, images, entry?.userIdentity) };
    } catch (error) {
      // Whatever is unreadable (for example a value of another kind than its name says) concerns only this record.
      return { failureId, unreadable: (error as Error).message };
    }
  });
}

interface EventEntry {
  readonly eventID?: unknown;
  readonly eventName?: unknown;
  readonly userIdentity?: UserIdentity;
  readonly dynamodb?: StreamImages & { readonly StreamViewType?: unknown };
}

/**
 * Why a stream is not enough: what it leaves out cannot be passed on, and reporting it as done would lose it silently.
 */
function lacking({ eventName, dynamodb }: EventEntry): string | undefined {
  const { StreamViewType: view, OldImage: old, NewImage: fresh } = dynamodb!;
  if (view !== undefined && view !== "NEW_AND_OLD_IMAGES") return `its stream is of ${String(view).slice(0, 40)}`;
  const wantsOld = eventName === "MODIFY" || eventName === "REMOVE";
  const wantsNew = eventName === "MODIFY" || eventName === "INSERT";
  if (wantsOld && old == null && wantsNew && fresh == null) return "it carries neither image";
  if (wantsOld && old == null) return "it carries no old image";
  return wantsNew && fresh == null ? "it carries no new image" : undefined;
}
