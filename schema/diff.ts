/**
 * What it means to roll a schema out: on devices, in the cloud, and while only one side has it. Nothing is tried on
 * data: if a result depends on a device's rows, the text says so.
 *
 * @module
 */
import { comesDown, goesUp } from "./direction.ts";
import { canonicalJson } from "./json.ts";
import type { Field, Index, Model, Schema } from "./model.ts";

/**
 * The severity of a difference. `note`: nothing is affected; `wait`: changes wait until both sides have the schema;
 * `rows`: it depends on the rows; `lost`: something is no longer synced or stored; `refused`: devices that have rows of
 * the model refuse the schema.
 */
export type Gravity = "note" | "wait" | "rows" | "lost" | "refused";

/** One difference. */
export interface Difference {
  readonly gravity: Gravity;
  /** Undefined for the schema as a whole. */
  readonly model?: string;
  readonly text: string;
}

/** Whether a roll-out of these differences loses or refuses something. */
export function isHarmful(differences: readonly Difference[]): boolean {
  return differences.some(({ gravity }) => gravity === "lost" || gravity === "refused");
}

/** The differences, in the order of the new schema's models, then those that are gone. */
export function diffSchemas(old: Schema, next: Schema): Difference[] {
  const found: Difference[] = [...whole(old, next)];
  for (const [name, model] of next.models) {
    const before = old.models.get(name);
    const add = (gravity: Gravity, text: string) => void found.push({ gravity, model: name, text });
    if (before) changed(before, model, add);
    else added(model, add);
  }
  for (const [name, model] of old.models) {
    if (next.models.has(name)) continue;
    removed(model, next.carried.has(name), (gravity, text) => void found.push({ gravity, model: name, text }));
  }
  return found;
}

type Add = (gravity: Gravity, text: string) => void;

function whole(old: Schema, next: Schema): Difference[] {
  const found: Difference[] = [];
  if (old.typeField !== next.typeField) {
    found.push({
      gravity: "refused",
      text: `the typeField was ${old.typeField} and is ${next.typeField}: items in the table have the old one`,
    });
  }
  if (canonicalJson(plainIndex(old.primary)) !== canonicalJson(plainIndex(next.primary))) {
    found.push({ gravity: "refused", text: "the primary index has other attributes: that is another table" });
  }
  for (const index of next.indexes) {
    const before = old.indexes.find(({ name }) => name === index.name);
    if (!before) {
      found.push({
        gravity: "note",
        text:
          `the index ${index.name} is new: \`cloud table create\` makes it; items that are there get into it when written`,
      });
    } else if (canonicalJson(plainIndex(before)) !== canonicalJson(plainIndex(index))) {
      found.push({
        gravity: "lost",
        text: `the index ${index.name} has other attributes: DynamoDB can't change one, give it a new name`,
      });
    }
  }
  for (const { name } of old.indexes) {
    if (!next.indexes.some((index) => index.name === name)) {
      found.push({ gravity: "note", text: `the index ${name} is gone from the schema; the table keeps it` });
    }
  }
  return found;
}

function plainIndex({ hash, sort }: Index): { hash: string; sort: string } {
  return { hash, sort: sort ?? "" };
}

function added(model: Model, add: Add): void {
  if (model.onDevice) add("note", "is new: devices get a table for it");
  if (goesUp(model)) {
    add("wait", "devices first: its changes wait until the cloud has this schema");
  }
  if (comesDown(model)) {
    add("wait", "cloud first: devices set its items aside until they have this schema");
  }
}

function removed(model: Model, isCarried: boolean, add: Add): void {
  if (model.sync === "none") return add("note", model.onDevice ? "is gone: its table stays on devices" : "is gone");
  add(
    "lost",
    `${
      isCarried ? "is only carried now" : "is gone"
    }: it no longer syncs. Its table stays on devices, and what waits there is not sent`,
  );
}

function changed(old: Model, next: Model, add: Add): void {
  keys(old, next, add);
  directions(old, next, add);
  if (old.conflict !== next.conflict && next.sync === "both") {
    add(
      "note",
      `conflicts were decided by "${old.conflict}" and are by "${next.conflict}", from the cloud's change on`,
    );
  }
  if (old.keep !== next.keep) {
    add(next.keep ? "lost" : "note", `"keep" was ${old.keep ?? "none"} and is ${next.keep ?? "none"}`);
  }
  for (const field of next.fields) {
    const before = old.fields.find(({ name }) => name === field.name) ??
      old.fields.find(({ attribute }) => attribute === field.attribute);
    if (!before) addedField(next, field, add);
    else changedField(before, field, add);
  }
  for (const field of old.fields) {
    const stays = next.fields.some(({ name, attribute }) => name === field.name || attribute === field.attribute);
    if (!stays) removedField(old, field, add);
  }
}

function keys(old: Model, next: Model, add: Add): void {
  const text = ({ hashKey, sortKey }: Model) => [hashKey.template.text, sortKey?.template.text].join("  |  ");
  const known = old.sync !== "none";
  if (text(old) !== text(next)) {
    add(
      known ? "refused" : "note",
      `its key was ${text(old)} and is ${text(next)}` +
        (known ? ": items are in the table under the old one. Give the model with the new key a new name" : ""),
    );
  } else if (old.scope !== next.scope) {
    add("lost", `its scope was ${old.scope} and is ${next.scope}: other devices see it`);
  }
  const listed = (model: Model) => model.enumeration && `${model.enumeration.index} ${model.enumeration.hash.text}`;
  if (listed(old) !== listed(next) && next.enumeration) {
    const lacks = next.enumeration.index === "primary" ? "" : `: items without its attributes are not in that index`;
    add("note", `it is listed by ${next.enumeration.index}, hash ${next.enumeration.hash.text}${lacks}`);
  }
}

function directions(old: Model, next: Model, add: Add): void {
  if (old.onDevice && !next.onDevice) add("lost", "is in the cloud only: its table stays on devices without sync");
  if (old.inCloud && !next.inCloud) add("lost", "is on devices only: the cloud's items stay as they are");
  if (!old.onDevice && next.onDevice) add("note", "devices get a table for it");
  if (old.sync === next.sync) return;
  const way = `"sync" was "${old.sync}" and is "${next.sync}"`;
  if (next.sync === "none") return add("lost", `${way}: rows stay, what waits is not sent`);
  if (old.sync === "none" && next.sync === "down") {
    return add("refused", `${way}: local rows would give way to the cloud's. Use "both", or delete them first`);
  }
  if (old.sync === "none") return add("note", `${way}: devices send the rows that they have`);
  if (goesUp(old) && !goesUp(next)) {
    add("lost", `${way}: devices can no longer write it, and what waits is not sent`);
  } else if (!goesUp(old)) add("wait", `${way}: devices first: changes wait until the cloud has this schema`);
  else add("note", `${way}: devices take a snapshot`);
}

function addedField(model: Model, field: Field, add: Add): void {
  const isFilled = field.default !== undefined || field.defaultNow || field.generate;
  const what = `${field.name} is new`;
  if (field.template) return add("note", `${what}, and computed: old items get it when they are written`);
  if (!field.synced) return add("note", `${what}, on devices only`);
  if (!field.required) return add("note", `${what}: empty in the rows that are there`);
  if (isFilled) {
    return add("note", `${what} and required: rows that are there, and changes of devices without it, get its default`);
  }
  add(
    "refused",
    `${what} and required, without a default: devices that have rows of ${model.name} refuse it. Give it a default`,
  );
}

function removedField(model: Model, field: Field, add: Add): void {
  if (field.template) return add("note", `${field.name} was computed, and is gone`);
  add(
    model.sync === "up" ? "lost" : "note",
    `${field.name} is gone: devices keep its values in _sync_kept` +
      (model.sync === "up"
        ? ", and their next update of a row takes it out of the cloud's item"
        : "; it stays in the cloud's items"),
  );
}

function changedField(old: Field, next: Field, add: Add): void {
  const named = old.name === next.name ? next.name : `${next.name} (was ${old.name})`;
  if (old.name !== next.name) add("note", `${named}: devices' columns are renamed, values stay`);
  if (old.attribute !== next.attribute) {
    add("note", `${named}: its attribute was ${old.attribute} and is ${next.attribute}; values are sent again`);
  }
  if (
    old.type !== next.type || old.members !== next.members || (old.type === "date" && old.isoDates !== next.isoDates)
  ) {
    add(
      "rows",
      `${named}: was ${typeText(old)} and is ${typeText(next)}: rows must mean one, or devices refuse the schema`,
    );
  }
  if (old.template?.text !== next.template?.text) {
    add("note", `${named}: is computed otherwise; old items keep theirs until written`);
  }
  if (!old.required && next.required && !next.template) {
    const isFilled = next.default !== undefined || next.defaultNow || next.generate;
    add(
      "rows",
      `${named}: is required: rows without it ${isFilled ? "get its default" : "make devices refuse the schema"}`,
    );
  }
  if (next.enum) {
    const gone = (old.enum ?? []).filter((value) => !next.enum!.includes(value));
    if (!old.enum || gone.length > 0) {
      add("rows", `${named}: must be one of ${next.enum.join(", ")}: other rows make devices refuse the schema`);
    }
    const fresh = next.enum.filter((value) => old.enum && !old.enum.includes(value));
    if (fresh.length > 0) {
      add(
        "wait",
        `${named}: ${fresh.join(", ")} is new: until both sides know it, such changes wait, or are set aside`,
      );
    }
  }
  if (!old.unique && next.unique) {
    add("rows", `${named}: is unique: rows that share a value make devices refuse the schema`);
  }
  if (old.synced && !next.synced) add("lost", `${named}: no longer leaves the device`);
  if (!old.synced && next.synced) add("note", `${named}: is sent, with the values that devices have`);
  if (old.ttl !== next.ttl) {
    add(next.ttl ? "lost" : "note", `${named}: ${next.ttl ? "items expire by it" : "items no longer expire by it"}`);
  }
  if (canonicalJson(text(old.validate)) !== canonicalJson(text(next.validate)) && next.validate) {
    add("rows", `${named}: must match /${next.validate.source}/: other changes of devices are rejected`);
  }
}

function text(value: unknown): string {
  return JSON.stringify(value ?? null);
}

function typeText({ type, members, isoDates }: Field): string {
  if (type === "date") return isoDates ? "date (ISO)" : "date (ms)";
  return members ? `${type} of ${members}` : type;
}
