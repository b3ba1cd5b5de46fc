/**
 * A small schema of a version of its own, for tests that look at what a device says of itself.
 *
 * @module
 */
import { defineSchema } from "../../schema.ts";

/** One model, both ways. */
export const schemaSource = defineSchema({
  version: "3.2.1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Note: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "note#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", required: true },
      text: { type: "string" },
    },
  },
  process: { Note: { sync: "both" } },
});
