/**
 * What a schema means, model by model: where items are, which way they travel, who sees them, how they are listed, what a
 * change costs, and what has no effect. `schema check` prints it, `schema diff` compares it.
 *
 * @module
 */
import { comesDown, goesUp } from "./direction.ts";
import type { DateRule, Index, Model, Schema, Scope } from "./model.ts";

/** One model, explained. */
export interface ModelExplained {
  readonly model: string;
  readonly onDevice: boolean;
  readonly inCloud: boolean;
  readonly sync: Model["sync"];
  /** Who wins when both sides changed an item; only where both can. */
  readonly conflict?: Model["conflict"];
  readonly keep?: Model["keep"];
  /** How values from before are read as dates. */
  readonly dates?: Readonly<Record<string, DateRule>>;
  readonly scope: Scope;
  /** The channel that its changes come down on; only where they do. */
  readonly channel?: string;
  /** The key's templates. */
  readonly key: { readonly hash: string; readonly sort?: string };
  /** The fields that hold ids and are in the key. */
  readonly identity: readonly string[];
  /** How a snapshot lists the items of a scope; only where they come down. */
  readonly listed?: { readonly index: string; readonly hash: string; readonly sortPrefix?: string };
  /** The device's table; only where there is one. */
  readonly table?: string;
  /** What a change costs in DynamoDB. */
  readonly cost: readonly string[];
  readonly ttl?: string;
  /** Properties without effect. */
  readonly carried: readonly string[];
  /** If the model is carried as a whole: why. */
  readonly opaque?: readonly string[];
}

/** Explains every model of a schema, carried ones last. */
export function explain(schema: Schema): ModelExplained[] {
  const explained = [...schema.models.values()].map((model) => explainModel(schema, model));
  const carried = [...schema.carried].map(([model, why]): ModelExplained => ({
    model,
    onDevice: false,
    inCloud: false,
    sync: "none",
    scope: "global",
    key: { hash: "" },
    identity: [],
    cost: [],
    carried: [],
    opaque: why,
  }));
  return [...explained, ...carried];
}

function explainModel(schema: Schema, model: Model): ModelExplained {
  const { enumeration, sync } = model;
  return {
    model: model.name,
    onDevice: model.onDevice,
    inCloud: model.inCloud,
    sync,
    ...(sync === "both" ? { conflict: model.conflict } : {}),
    ...(model.keep ? { keep: model.keep } : {}),
    ...(model.dates ? { dates: Object.fromEntries(model.dates) } : {}),
    scope: model.scope,
    ...(comesDown(model) ? { channel: channelText(model) } : {}),
    key: { hash: model.hashKey.template.text, ...(model.sortKey ? { sort: model.sortKey.template.text } : {}) },
    identity: model.identityFields,
    ...(enumeration
      ? {
        listed: {
          index: enumeration.index,
          hash: enumeration.hash.text,
          ...(enumeration.sortPrefix?.text ? { sortPrefix: enumeration.sortPrefix.text } : {}),
        },
      }
      : {}),
    ...(model.onDevice ? { table: model.name } : {}),
    cost: costOf(schema, model),
    ...(model.ttlField ? { ttl: model.ttlField } : {}),
    carried: schema.annotations.filter(({ places }) => places.some((place) => isOf(place, model.name)))
      .map(({ property }) => property),
  };
}

function isOf(place: string, model: string): boolean {
  return place === `process.${model}` || place.startsWith(`${model}.`);
}

function channelText({ scope, identityNames }: Model): string {
  if (scope === "global") return "global";
  return `${scope}:\${${scope === "device" ? identityNames.deviceId : identityNames.accountId}}`;
}

/** Write and read units as DynamoDB counts them: a write unit a KB, a strong read unit four. */
function costOf(schema: Schema, model: Model): string[] {
  const { sync } = model;
  if (sync === "none") return [];
  const indexes = schema.indexes.filter((index) => mayBeIn(model, index)).map(({ name }) => name);
  const also = indexes.length === 0 ? "" : `, and as much for each index that has the item (${indexes.join(", ")})`;
  const lines: string[] = [];
  if (goesUp(model)) {
    lines.push(`a change up: 1 write unit a KB of the item${also}, no read`);
  }
  if (sync === "both" && model.scope === "device") {
    lines.push("its way back to the device: about 0.1 write unit, no read");
  }
  if (sync === "down" || (sync === "both" && model.scope !== "device")) {
    lines.push("a change down: 1 read unit for each 4 KB, whatever the number of devices, and about 0.1 write unit");
  }
  return lines;
}

/** Whether items of the model can have all of an index's attributes. */
function mayBeIn(model: Model, { hash, sort }: Index): boolean {
  const has = (attribute: string) =>
    model.fields.some((field) => field.attribute === attribute && !field.packed && !field.encoded) ||
    attribute === model.hashKey.attribute || attribute === model.sortKey?.attribute;
  return has(hash) && (sort === undefined || has(sort));
}

/** The explanation for a person: one block a model. */
export function explainText(explained: readonly ModelExplained[]): string[] {
  return explained.flatMap((model) => {
    const line = (what: string, text: string) => `  ${what.padEnd(9)} ${text}`;
    if (model.opaque) return ["", model.model, line("carried", `as it is: ${model.opaque.join("; ")}`)];
    const lines = ["", model.model, line("where", whereText(model)), line("sync", syncText(model))];
    if (model.conflict) lines.push(line("conflict", conflicts[model.conflict]));
    if (model.keep) {
      lines.push(line("keep", "newest: rows that were never sent give way, the oldest first, when the outbox is full"));
    }
    for (const [name, { zone, unit }] of Object.entries(model.dates ?? {})) {
      const parts = [
        ...(zone ? [`texts without a zone are times of ${zone}`] : []),
        ...(unit ? [`numbers are ${unit}`] : []),
      ];
      lines.push(line("dates", `${name}: in rows from before, ${parts.join(", ")}`));
    }
    lines.push(line("scope", scopeText(model)));
    lines.push(line("key", [model.key.hash, model.key.sort].filter((text) => text !== undefined).join("  |  ")));
    if (model.listed) lines.push(line("listed", listedText(model.listed)));
    if (model.ttl) lines.push(line("expires", `by ${model.ttl}`));
    model.cost.forEach((text, i) => lines.push(line(i === 0 ? "cost" : "", text)));
    if (model.carried.length > 0) lines.push(line("carried", `without effect: ${model.carried.join(", ")}`));
    return lines;
  });
}

function whereText({ onDevice, inCloud, table }: ModelExplained): string {
  const place = onDevice && inCloud ? "device and cloud" : onDevice ? "device only" : "cloud only";
  return table === undefined ? place : `${place}; SQLite table "${table}"`;
}

function syncText({ sync }: ModelExplained): string {
  return {
    up: "up: from the device to the cloud",
    down: "down: from the cloud to the device, where it is read-only",
    both: "both ways",
    none: "none: each side has its own",
  }[sync];
}

const conflicts: Readonly<Record<Model["conflict"], string>> = {
  newest: "newest: the later change wins",
  cloud: "cloud: the cloud's version stays, the device's goes to _conflicts",
  device: "device: the device's version is written over the cloud's",
  merge: "merge: the device merges both field by field",
};

function scopeText({ scope, identity, channel }: ModelExplained): string {
  const who = scope === "device"
    ? "each device its own"
    : scope === "account"
    ? "all devices of an account"
    : "all devices";
  const by = identity.length === 0
    ? "no id in the key"
    : `${identity.map((name) => `\${${name}}`).join(" and ")} in the key`;
  return `${scope}: ${who}, by ${by}${channel === undefined ? "" : `; channel ${channel}`}`;
}

function listedText({ index, hash, sortPrefix }: NonNullable<ModelExplained["listed"]>): string {
  const by = index === "primary" ? "by the primary key" : `by the index ${index}, which lags behind the table`;
  return `${by}: hash ${hash}${sortPrefix ? `, sort from ${sortPrefix}` : ""}`;
}
