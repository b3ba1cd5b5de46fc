/**
 * The schema of the golden files. Frozen like them: a change would be another database's.
 *
 * @module
 */
import { defineSchema } from "../../schema.ts";

const own = (name: string, sort: string) => ({
  pk: { type: "string", value: "device#${deviceId}" },
  sk: { type: "string", value: `${name}#\${${sort}}` },
  deviceId: { type: "string", required: true },
} as const);

/** A model of each direction, scope and policy, and a field of each type. */
export const goldenSchema = defineSchema({
  format: "onetable:1.1.0",
  version: "1.0.0",
  indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } },
  params: { isoDates: true, timestamps: true },
  models: {
    Note: {
      ...own("note", "name"),
      name: { type: "string", required: true },
      text: { type: "string" },
      level: { type: "number", default: 1 },
      active: { type: "boolean" },
      due: { type: "date" },
      body: { type: "object" },
      tags: { type: "set", items: { type: "string" } },
      steps: { type: "array" },
      blob: { type: "binary" },
      secret: { type: "string", sync: "none" },
    },
    Rule: { ...own("rule", "name"), name: { type: "string", required: true }, limit: { type: "number" } },
    Profile: {
      ...own("profile", "name"),
      name: { type: "string", required: true },
      email: { type: "string" },
      phone: { type: "string" },
    },
    Slot: {
      ...own("slot", "name"),
      name: { type: "string", required: true },
      place: { type: "string", required: true, unique: true },
    },
    Command: { ...own("command", "name"), name: { type: "string", required: true }, value: { type: "number" } },
    Sample: {
      ...own("sample", "id"),
      id: { type: "string", generate: "ulid" },
      value: { type: "number" },
    },
    Member: {
      pk: { type: "string", value: "account#${accountId}" },
      sk: { type: "string", value: "member#${name}" },
      accountId: { type: "string", required: true },
      name: { type: "string", required: true },
      role: { type: "string", enum: ["guest", "owner"] },
    },
    Asset: {
      pk: { type: "string", value: "asset#${accountId}#${id}" },
      sk: { type: "string", value: "asset" },
      gs1pk: { type: "string", value: "account#${accountId}" },
      gs1sk: { type: "string", value: "asset#${accountId}#${id}" },
      accountId: { type: "string", required: true },
      id: { type: "string", required: true },
      label: { type: "string" },
    },
    Setting: {
      pk: { type: "string", value: "global" },
      sk: { type: "string", value: "setting#${name}" },
      name: { type: "string", required: true },
      value: { type: "string" },
    },
  },
  process: {
    Note: { sync: "both" },
    Rule: { sync: "both", conflict: "cloud" },
    Profile: { sync: "both", conflict: "merge" },
    Slot: { sync: "both", conflict: "device" },
    Command: { sync: "down" },
    Sample: { sync: "up" },
    Member: { sync: "both" },
    Asset: { sync: "both" },
    Setting: { sync: "down" },
  },
});

/** The devices of the golden files, both of account `acme`. */
export const goldenDevices = ["golden-1", "golden-2"] as const;
/** Their account. */
export const goldenAccount = "acme";
