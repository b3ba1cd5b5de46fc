/**
 * The example's schema: a fleet of machines that report what they measure and take settings and commands. It shows each
 * direction and each scope once. `mod.ts schema sql examples/schema.ts` prints the SQLite tables that it becomes,
 * `mod.ts schema json examples/schema.ts` the same schema as JSON.
 *
 * @module
 */
import { defineSchema } from "../schema.ts";

/** Item types are inferred from this object: `agent.model("Setting").create({ name: "load", value: 2 })` is checked. */
export const schema = defineSchema({
  format: "onetable:1.1.0",
  version: "0.1.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    /** What a machine measured: device to cloud, kept for a day. Byte counters since boot by network interface. */
    Telemetry: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "telemetry#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", generate: "ulid" },
      load: { type: "number", required: true },
      memory: { type: "number", required: true },
      disk: { type: "number", required: true },
      network: { type: "object", default: {} },
      expires: { type: "date", ttl: true },
      created: { type: "date" },
      updated: { type: "date" },
    },
    /** Something worth knowing: device to cloud. */
    Event: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "event#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", generate: "ulid" },
      severity: { type: "string", enum: ["info", "warn", "error"], default: "info" },
      message: { type: "string", required: true },
      created: { type: "date" },
      updated: { type: "date" },
    },
    /** A device's settings, changed on either side. The demo device reads its thresholds here. */
    Setting: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "setting#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      value: { type: "number", required: true },
      created: { type: "date" },
      updated: { type: "date" },
    },
    /** What the cloud wants of a device: cloud to device, read-only there. */
    Command: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "command#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      value: { type: "number", required: true },
      created: { type: "date" },
      updated: { type: "date" },
    },
    /** Shared by all devices of an account: what one of them writes, all of them have. */
    Site: {
      pk: { type: "string", value: "account#${accountId}" },
      sk: { type: "string", value: "site#${name}" },
      accountId: { type: "string", required: true },
      name: { type: "string", required: true },
      address: { type: "string" },
      open: { type: "boolean", default: true },
      created: { type: "date" },
      updated: { type: "date" },
    },
    /** For every device there is. */
    Notice: {
      pk: { type: "string", value: "notice#" },
      sk: { type: "string", value: "notice#${id}" },
      id: { type: "string", generate: "ulid" },
      text: { type: "string", required: true },
      created: { type: "date" },
      updated: { type: "date" },
    },
  },
  params: { isoDates: true, timestamps: true, typeField: "_type" },
  process: {
    // A device that is offline for so long that its outbox is full keeps what it measured last.
    Telemetry: { sync: "up", keep: "newest" },
    Event: { sync: "up" },
    Setting: { sync: "both", conflict: "newest" },
    Command: { sync: "down" },
    Site: { sync: "both" },
    Notice: { sync: "down" },
  },
});

export default schema;
