/**
 * The schema of the end-to-end tests: one model for each direction, scope and policy that they need. It is plain JSON, so
 * that a process of its own can read it from a file.
 *
 * @module
 */
import { compileSchema, defineSchema, type Schema } from "../../schema.ts";

const device = { type: "string", value: "device#${deviceId}" } as const;
const account = { type: "string", value: "account#${accountId}" } as const;
const global = { type: "string", value: "global#" } as const;
const text = { type: "string" } as const;
const needed = { type: "string", required: true } as const;
const number = { type: "number" } as const;

/** All models have timestamps, by which `newest` decides and whose sanity the clock tests check. */
export const e2eSchema = defineSchema({
  format: "onetable:1.1.0",
  version: "1.0.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { isoDates: true, timestamps: true },
  models: {
    /** Device to cloud. */
    Sample: {
      pk: device,
      sk: { type: "string", value: "sample#${id}" },
      deviceId: needed,
      id: { type: "string", generate: "ulid" },
      n: number,
      text,
    },
    /** Both ways, the newest wins. `slot` is unique on the device. */
    Setting: {
      pk: device,
      sk: { type: "string", value: "setting#${name}" },
      deviceId: needed,
      name: needed,
      value: number,
      text,
      slot: { type: "number", unique: true },
    },
    /** Both ways, each of the other policies. */
    Cloudy: {
      pk: device,
      sk: { type: "string", value: "cloudy#${name}" },
      deviceId: needed,
      name: needed,
      value: number,
      text,
    },
    Devicey: {
      pk: device,
      sk: { type: "string", value: "devicey#${name}" },
      deviceId: needed,
      name: needed,
      value: number,
      text,
    },
    Merged: {
      pk: device,
      sk: { type: "string", value: "merged#${name}" },
      deviceId: needed,
      name: needed,
      value: number,
      text,
    },
    /** Cloud to device. */
    Command: {
      pk: device,
      sk: { type: "string", value: "command#${name}" },
      deviceId: needed,
      name: needed,
      value: number,
      text,
    },
    /** Both ways among the devices of an account. */
    Site: {
      pk: account,
      sk: { type: "string", value: "site#${name}" },
      accountId: needed,
      name: needed,
      value: number,
      text,
    },
    /** Both ways among all devices. */
    Board: { pk: global, sk: { type: "string", value: "board#${name}" }, name: needed, value: number, text },
    /** Cloud to all devices. */
    Notice: { pk: global, sk: { type: "string", value: "notice#${name}" }, name: needed, value: number, text },
    /** Stays on the device. */
    Scratch: { pk: device, sk: { type: "string", value: "scratch#${name}" }, deviceId: needed, name: needed, text },
  },
  process: {
    Sample: { sync: "up" },
    Setting: { sync: "both" },
    Cloudy: { sync: "both", conflict: "cloud" },
    Devicey: { sync: "both", conflict: "device" },
    Merged: { sync: "both", conflict: "merge" },
    Command: { sync: "down" },
    Site: { sync: "both" },
    Board: { sync: "both" },
    Notice: { sync: "down" },
    Scratch: { sync: "none" },
  },
});

/** The compiled schema. */
export const e2eCompiled: Schema = compileSchema(e2eSchema);

/** Writes the schema to a file for `--schema`, and gives its path. */
export function writeSchema(dir: string, schema: unknown = e2eSchema): string {
  const path = `${dir}/schema.json`;
  Deno.writeTextFileSync(path, JSON.stringify(schema));
  return path;
}
