/**
 * The topics on which changes are told, by `notify` in the schema.
 *
 * @module
 */
import { topics } from "../../protocol.ts";
import type { Model, NotifyTarget, Schema } from "../../schema/model.ts";

/** Where a model's changes are told, with the topic that is meant by `true`. */
export function targetOf(model: Model, to: NotifyTarget, prefix?: string): Exclude<NotifyTarget, { kind: "usual" }> {
  return to.kind === "usual" ? { kind: "topic", name: topics(prefix).notify(model.name) } : to;
}

/** What one subscribes to for notifications: each topic, and all of the usual ones at once. */
export function notifyFilters(schema: Schema, prefix?: string): string[] {
  const filters = new Set<string>();
  for (const model of schema.models.values()) {
    const to = model.notify && targetOf(model, model.notify.to, prefix);
    if (to?.kind === "topic") filters.add(to.name);
    if (model.notify?.to.kind === "usual") { for (const all of ["+", "#"]) filters.add(topics(prefix).notify(all)); }
  }
  return [...filters];
}
