/**
 * `metrics` in `process`: which fields of devices' changes become time series in the cloud, and the dimensions that
 * separate them.
 *
 *     process: { Reading: { sync: "up", metrics: [{ namespace: "Acme", fields: ["celsius"], dimensions: [{ Device: "deviceId" }, {}] }] } }
 *
 * Each field has one series for each value of each set of dimensions; `{}` is one series of all.
 *
 * @module
 */
import type { Carried } from "./carried.ts";
import { goesUp } from "./direction.ts";
import type { IdentityNames } from "./identity.ts";
import type { Dimension, Field, Metric, SyncDirection } from "./model.ts";
import { quoted } from "./names.ts";
import { isMap, type Json } from "./values.ts";

/** The most dimensions in a set, and the most sets and fields of a metric. */
const dimensionsMax = 4, setsMax = 8, fieldsMax = 32;
/** Seconds: five minutes unless the schema says otherwise. Whole minutes that divide a day, at most an hour. */
const usualPeriod = 300, periods = [60, 120, 180, 300, 600, 900, 1200, 1800, 3600];
/** Labels of `/metrics` that are already used, or that Prometheus sets itself. */
const takenNames = ["namespace", "field", "model", "le", "quantile", "job", "instance"];
const known = ["namespace", "fields", "dimensions", "period"];

/** The model's part of the compilation. */
export interface MetricsContext {
  readonly model: string;
  readonly sync: SyncDirection;
  readonly fields: ReadonlyMap<string, Field>;
  readonly identityNames: IdentityNames;
  readonly carried: Carried;
  readonly report: (text: string) => void;
}

/** The metrics of one model; undefined where it has none. */
export function compileMetrics(raw: Json | undefined, context: MetricsContext): readonly Metric[] | undefined {
  if (raw === undefined || raw === false) return undefined;
  const { model, sync, carried, report } = context;
  if (!goesUp({ sync })) {
    carried.warn(`model "${model}": "metrics" has no effect: with "sync": "${sync}" nothing comes from devices`);
    return undefined;
  }
  const example = '[{"namespace": "Acme", "fields": ["celsius"], "dimensions": [{"Device": "deviceId"}]}]';
  if (!Array.isArray(raw) || raw.length === 0) {
    report(`"metrics" in "process" must be a list: ${example}`);
    return undefined;
  }
  return raw.flatMap((one, at) => {
    const where = `"metrics" in "process", number ${at + 1}`;
    const said = (text: string) => report(`${where}: ${text}`);
    if (!isMap(one)) {
      said(`it must be an object: ${example}`);
      return [];
    }
    for (const key of Object.keys(one)) {
      if (!known.includes(key)) carried.annotation(key, `process.${model}.metrics`, known);
    }
    return {
      namespace: namespaceOf(one.namespace, model, said),
      fields: fieldsOf(one.fields, context, said),
      dimensions: setsOf(one.dimensions, context, said),
      periodMs: periodOf(one.period, said) * 1000,
    };
  });
}

type Report = (text: string) => void;

function namespaceOf(raw: Json | undefined, model: string, report: Report): string {
  if (raw === undefined) return model;
  if (typeof raw === "string" && /^[\x21-\x7e][\x20-\x7e]{0,127}$/.test(raw)) return raw;
  report(`"namespace" must be a text of 1 to 128 printable ASCII characters, and is ${quoted(raw)}`);
  return model;
}

function fieldsOf(raw: Json | undefined, { fields }: MetricsContext, report: Report): string[] {
  if (!Array.isArray(raw) || raw.length === 0 || raw.length > fieldsMax) {
    report(`"fields" must be a list of 1 to ${fieldsMax} fields of type number`);
    return [];
  }
  return [...new Set(raw)].flatMap((name) => {
    const field = typeof name === "string" ? fields.get(name) : undefined;
    if (!field) report(`"fields" names ${quoted(name)}, which is no field of the model`);
    else if (field.type !== "number") report(`the field "${field.name}" is of type ${field.type}, not number`);
    else if (!field.synced) report(`the field "${field.name}" never leaves the device ("sync": "none")`);
    else return [field.name];
    return [];
  });
}

function setsOf(raw: Json | undefined, context: MetricsContext, report: Report): Dimension[][] {
  if (raw === undefined) return [[]];
  if (!Array.isArray(raw) || raw.length === 0 || raw.length > setsMax) {
    report(`"dimensions" must be a list of 1 to ${setsMax} sets: [{"Device": "deviceId"}, {}]`);
    return [];
  }
  return raw.map((set) => {
    if (!isMap(set)) {
      report(`a set of dimensions is an object of a name and a field: {"Device": "deviceId"}, and is ${quoted(set)}`);
      return [];
    }
    const entries = Object.entries(set);
    if (entries.length > dimensionsMax) {
      report(`a set has at most ${dimensionsMax} dimensions, and one has ${entries.length}`);
    }
    // In a fixed order, so that sets that differ only in order are equal.
    return entries.sort(([a], [b]) => a < b ? -1 : 1).map(([name, field]) => dimensionOf(name, field, context, report));
  });
}

function dimensionOf(name: string, raw: Json, { fields, identityNames }: MetricsContext, report: Report): Dimension {
  const said = (text: string) => report(`the dimension ${quoted(name)}: ${text}`);
  if (!/^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(name)) said("a name is a letter, then letters, digits and _, 64 at most");
  else if (takenNames.includes(name)) said("this name is taken: each series of /metrics has it");
  const field = typeof raw === "string" ? fields.get(raw) : undefined;
  const isIdentity = raw === identityNames.deviceId || raw === identityNames.accountId;
  if (!field && !isIdentity) said(`${quoted(raw)} is no field of the model`);
  else if (field && !["string", "number", "boolean"].includes(field.type)) {
    said(`the field "${field.name}" is of type ${field.type}: string, number or boolean is needed`);
  } else if (field?.template) said(`the field "${field.name}" is computed: name the fields that it is made of`);
  else if (field && !field.synced) said(`the field "${field.name}" never leaves the device ("sync": "none")`);
  return { name, field: String(raw) };
}

function periodOf(raw: Json | undefined, report: Report): number {
  if (raw === undefined) return usualPeriod;
  if (typeof raw === "number" && periods.includes(raw)) return raw;
  report(`"period" is one of ${periods.join(", ")} seconds, and is ${quoted(raw)}`);
  return usualPeriod;
}
