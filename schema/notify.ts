/**
 * `notify` in `process`: where the cloud sends notifications of a model's changes, and of which changes.
 *
 *     process: { Alarm: { sync: "up", notify: { url: "https://example.com/alarms", on: ["create"], where: { level: { atLeast: 3 } } } } }
 *
 * `true` means every change, to the MQTT topic of the model. A schema also goes to devices, where a secret in it would
 * be visible, so a URL with a password is refused.
 *
 * @module
 */
import type { Field, Notify, NotifyEvent, NotifyTarget, NotifyTest } from "./model.ts";
import { quoted } from "./names.ts";
import { isMap, type Json } from "./values.ts";

const events: readonly NotifyEvent[] = ["create", "update", "remove"];
const targets = ["url", "topic", "eventbridge"] as const;
/** Comparisons, and the types of their operands. */
const comparisons: Readonly<Record<string, readonly string[]>> = {
  equals: ["string", "number", "boolean"],
  not: ["string", "number", "boolean"],
  above: ["string", "number"],
  atLeast: ["string", "number"],
  below: ["string", "number"],
  atMost: ["string", "number"],
  begins: ["string"],
  exists: ["boolean"],
};
const valuesMax = 100;

/** The model's part of the compilation. */
export interface NotifyContext {
  readonly inCloud: boolean;
  readonly fields: ReadonlyMap<string, Field>;
  readonly report: (text: string) => void;
}

/** The notifications of one model; undefined: none. */
export function compileNotify(raw: Json | undefined, context: NotifyContext): Notify | undefined {
  if (raw === undefined || raw === false) return undefined;
  const report = (text: string) => context.report(`"notify" in "process": ${text}`);
  if (!context.inCloud) {
    report('the model is on devices alone ("enable": "device"), and the cloud has nothing to tell of it');
    return undefined;
  }
  if (raw === true) return { to: { kind: "usual" }, on: events, where: [] };
  if (!isMap(raw)) {
    report('it is true, or an object: {"url": "https://…", "on": ["create"], "where": {"level": {"atLeast": 3}}}');
    return undefined;
  }
  const other = Object.keys(raw).find((key) => !["on", "where", ...targets].includes(key));
  if (other !== undefined) report(`${quoted(other)} is unknown: it has ${targets.join(", ")}, on, where`);
  const to = targetOf(raw, report), on = eventsOf(raw.on, report), where = testsOf(raw.where, { ...context, report });
  return to && { to, on, where };
}

type Report = (text: string) => void;

function targetOf(raw: Readonly<Record<string, Json>>, report: Report): NotifyTarget | undefined {
  const given = targets.filter((kind) => raw[kind] !== undefined);
  if (given.length === 0) return { kind: "usual" };
  const kind = given[0]!, name = raw[kind];
  if (given.length > 1) report(`${given.join(" and ")} are one too many: a model tells one receiver`);
  if (typeof name !== "string") report(`"${kind}" must be a text, and is ${quoted(name)}`);
  else if (kind === "url") checkUrl(name, report);
  else if (kind === "topic") checkTopic(name, report);
  else if (!/^[A-Za-z0-9._/:-]{1,1600}$/.test(name)) {
    report(`"eventbridge" must be the name or the ARN of an event bus, and is ${quoted(name)}`);
  }
  return { kind, name: String(name) };
}

/** The URL is not quoted if it may contain a password. */
function checkUrl(text: string, report: Report): void {
  const url = URL.parse(text);
  if (!url || !["http:", "https:"].includes(url.protocol) || url.hostname === "") {
    report('"url" must be https://HOST/… or http://HOST/…');
  } else if (url.username !== "" || url.password !== "") {
    report('"url" holds a user name or password, and the schema goes to devices, too: messages are signed instead');
  } else if (url.hash !== "") report('"url" has a fragment ("#…"), which is never sent');
}

function checkTopic(text: string, report: Report): void {
  // deno-lint-ignore no-control-regex
  if (text === "" || text.length > 200 || /[+#\u0000]/.test(text) || /^[$/]/.test(text) || !text.isWellFormed()) {
    report(`"topic" must be an MQTT topic of 1 to 200 characters without + and #, not beginning with $ or /`);
  }
}

function eventsOf(raw: Json | undefined, report: Report): readonly NotifyEvent[] {
  if (raw === undefined) return events;
  const list = Array.isArray(raw) ? raw : [raw];
  if (list.length > 0 && list.every((one) => events.includes(one as NotifyEvent))) return list as NotifyEvent[];
  report(`"on" must be a list of ${events.join(", ")}, and is ${quoted(raw)}`);
  return events;
}

function testsOf(raw: Json | undefined, context: NotifyContext): NotifyTest[] {
  if (raw === undefined) return [];
  if (!isMap(raw)) {
    context.report('"where" must be an object of fields: {"level": {"atLeast": 3}, "state": ["open", "stuck"]}');
    return [];
  }
  return Object.entries(raw).flatMap(([name, wanted]) => testsOfField(name, wanted, context));
}

function testsOfField(name: string, raw: Json, { fields, report }: NotifyContext): NotifyTest[] {
  const field = fields.get(name), said = (text: string) => report(`"where", ${quoted(name)}: ${text}`);
  if (!field) said("it is no field of the model");
  else if (!field.synced) said('it never leaves the device ("sync": "none")');
  else if (!["string", "number", "boolean", "date"].includes(field.type)) {
    said(`a field of type ${field.type} can't be compared: string, number, boolean and date can`);
  }
  if (!field) return [];
  const { attribute } = field, type = field.type === "date" ? field.isoDates ? "string" : "number" : field.type;
  if (Array.isArray(raw)) {
    if (raw.length === 0 || raw.length > valuesMax || raw.some((value) => typeof value !== type)) {
      said(`a list must have 1 to ${valuesMax} values of type ${type}`);
    }
    return [{ attribute, op: "in", value: raw as (string | number | boolean)[] }];
  }
  const tests = isMap(raw) ? Object.entries(raw) : [["equals", raw] as const];
  if (tests.length === 0) said("an empty object compares nothing");
  return tests.map(([op, value]): NotifyTest => {
    const takes = Object.hasOwn(comparisons, op) ? comparisons[op]! : [];
    if (takes.length === 0) said(`${quoted(op)} is unknown: there are ${Object.keys(comparisons).join(", ")}`);
    else if (!takes.includes(typeof value) || op !== "exists" && typeof value !== type) {
      said(`"${op}" compares with a ${op === "exists" ? "boolean" : type}, and is given ${quoted(value)}`);
    }
    return { attribute, op: op as NotifyTest["op"], value: value as string | number | boolean };
  });
}
