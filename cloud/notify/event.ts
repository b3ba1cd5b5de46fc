/**
 * A change as a CloudEvent 1.0 in the structured JSON form: what `notify` in the schema tells others.
 *
 *     {"specversion": "1.0", "id", "source": "/twintable", "type": "twintable.item.created", "subject": "<hash> <sort>",
 *      "time", "datacontenttype": "application/json", "model", "data": {"op", "by", "item", "old"}}
 *
 * The `id` is made of the record: whoever is told of it twice can see that. Written by hand and not by `npm:cloudevents`,
 * which runs on Deno and Node but brings 45 packages for one JSON object; the tests have it judge every event.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { jsonEquals, modelOf, toPlain, versionOf } from "../../schema.ts";
import type { Model, NotifyEvent, NotifyTest, Schema } from "../../schema/model.ts";
import { unplaceItem } from "../../schema/placement.ts";
import type { Item, Json } from "../../schema/values.ts";
import { utf8Bytes } from "../table/item_size.ts";
import type { StreamRecord } from "../table/port.ts";

/** The content type of a structured event. */
export const eventType = "application/cloudevents+json; charset=utf-8";
/** EventBridge takes 256 KB with all around it. Larger ones leave out the old item, then the item. */
export const eventBytesMax = 200 * 1024;

/** A CloudEvent of a change. */
export interface ChangeEvent {
  readonly specversion: "1.0";
  /** The same whenever this change is told. */
  readonly id: string;
  readonly source: "/twintable";
  readonly type: `twintable.item.${"created" | "updated" | "removed"}`;
  /** The item's primary key: its hash and sort value. */
  readonly subject: string;
  /** When it was written where the table's stream says so (to the second in DynamoDB), else when it was read. */
  readonly time: string;
  readonly datacontenttype: "application/json";
  /** The model's name. */
  readonly model: string;
  readonly data: {
    readonly op: NotifyEvent;
    /** The device that wrote it, or `cloud`. */
    readonly by: string;
    /** As the API gives it. Absent for a removal. */
    readonly item?: Readonly<Record<string, unknown>>;
    /** As it was. Absent for a creation. */
    readonly old?: Readonly<Record<string, unknown>>;
    /** The item had expired: nobody removed it. */
    readonly expired?: true;
    /** Left out because the event would be too large; the API gives the item. */
    readonly omitted?: readonly ("item" | "old")[];
  };
}

/** What happened to the item of a record; undefined: it is of no model. */
export function happenedTo(
  schema: Schema,
  { old, new: item }: StreamRecord,
): { model: Model; op: NotifyEvent } | undefined {
  const image = item ?? old, model = image && modelOf(schema, image);
  return model && { model, op: !old ? "create" : item ? "update" : "remove" };
}

/** Whether all conditions hold of an item. */
export function holds(model: Model, tests: readonly NotifyTest[], stored: Item): boolean {
  if (tests.length === 0) return true;
  const item = unplaceItem(model, stored);
  return tests.every(({ attribute, op, value }) => {
    const has = Object.hasOwn(item, attribute) && item[attribute] !== null;
    return compare(op, has ? plainOf(item[attribute]!) : undefined, value);
  });
}

function compare(op: NotifyTest["op"], has: Json | undefined, wanted: NotifyTest["value"]): boolean {
  switch (op) {
    case "exists":
      return (has !== undefined) === wanted;
    case "equals":
      return has === wanted;
    case "not":
      return has !== wanted;
    case "in":
      return (wanted as readonly Json[]).includes(has as Json);
    case "begins":
      return typeof has === "string" && has.startsWith(wanted as string);
  }
  if (typeof has !== typeof wanted || has === undefined) return false;
  const [a, b] = [has as number | string, wanted as number | string];
  return op === "above" ? a > b : op === "atLeast" ? a >= b : op === "below" ? a < b : a <= b;
}

/** A number that a double can't hold exactly is compared as the nearest double. */
function plainOf(value: Json): Json {
  return typeof value === "object" && value !== null && "$n" in value ? Number(value.$n) : value;
}

const types = { create: "created", update: "updated", remove: "removed" } as const;

/** The event of a record. */
export function eventOf(schema: Schema, model: Model, op: NotifyEvent, record: StreamRecord, now: number): ChangeEvent {
  const { key, old, new: item, expired, atMs, id } = record;
  const plain = (image: Item | undefined) => image && toPlain(schema, model, image);
  const text = JSON.stringify([id ?? "", key, old ?? null, item ?? null]);
  return {
    specversion: "1.0",
    id: createHash("sha256").update(text).digest("hex").slice(0, 32),
    source: "/twintable",
    type: `twintable.item.${types[op]}`,
    subject: key.join(" "),
    time: new Date(atMs ?? now).toISOString(),
    datacontenttype: "application/json",
    model: model.name,
    data: {
      op,
      by: writerOf(record),
      ...(item ? { item: plain(item) } : {}),
      ...(old ? { old: plain(old) } : {}),
      ...(expired ? { expired } : {}),
    },
  };
}

/** Whose version is new; an item that keeps its version was written by somebody who knows nothing of versions. */
function writerOf({ old, new: item }: StreamRecord): string {
  const version = item && versionOf(item), before = old && versionOf(old);
  if (!version || before && jsonEquals(version as unknown as Json, before as unknown as Json)) return "cloud";
  return version[0].slice(0, Math.max(0, version[0].lastIndexOf("#"))) || "cloud";
}

/** The event's text, of so many bytes at most: without the old item, without any, as far as it takes. */
export function textOf(event: ChangeEvent, bytesMax: number): string {
  const omitted: ("item" | "old")[] = [];
  let fit = event;
  for (const part of [undefined, "old", "item"] as const) {
    if (part && event.data[part]) {
      omitted.push(part);
      fit = { ...fit, data: { ...fit.data, [part]: undefined, omitted: [...omitted] } };
    }
    const text = JSON.stringify(fit);
    if (utf8Bytes(text) <= bytesMax || part === "item") return text;
  }
  return JSON.stringify(fit);
}
