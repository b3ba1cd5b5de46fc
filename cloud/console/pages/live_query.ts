/**
 * Which changes `/live` shows: words as in `model:Setting device:d-1 op:remove`, several of one kind meaning any of them.
 *
 * @module
 */
import type { Schema } from "../../../schema/model.ts";
import { comesDown, goesUp } from "../../../schema/direction.ts";

/** The filters of the page. */
export interface LiveView {
  readonly q: string;
  readonly models: readonly string[];
  /** Device ids, or `cloud`. */
  readonly by: readonly string[];
  readonly ops: readonly string[];
  /** Words that are not known, as a sentence. */
  readonly fault?: string;
}

const kinds = ["model", "device", "by", "op"];

/** Models that only sync up: telemetry, which would hide the rest. */
export function telemetryOf(schema: Schema): string[] {
  return [...schema.models.values()].filter((model) => model.inCloud && goesUp(model) && !comesDown(model)).map((
    model,
  ) => model.name);
}

/** Reads the words. */
export function liveView(schema: Schema, q: string): LiveView {
  const models: string[] = [], by: string[] = [], ops: string[] = [];
  let fault: string | undefined;
  for (const word of q.split(/\s+/).filter((one) => one !== "")) {
    const [, kind = "", value = ""] = /^(\w+):(.+)$/.exec(word) ?? [];
    if (!kinds.includes(kind)) {
      fault ??= `"${word}" is not a condition: ${kinds.map((one) => `${one}:…`).join(", ")} are`;
    } else if (kind === "model") {
      const wanted = value.split(",");
      const unknown = wanted.find((name) => !schema.models.has(name));
      if (unknown !== undefined) fault ??= `there is no model "${unknown}": ${[...schema.models.keys()].join(", ")}`;
      models.push(...wanted);
    } else if (kind === "op") {
      if (value !== "put" && value !== "remove") fault ??= `op is put or remove, not "${value}"`;
      ops.push(value);
    } else by.push(...value.split(","));
  }
  return { q, models, by, ops, ...(fault === undefined ? {} : { fault }) };
}
