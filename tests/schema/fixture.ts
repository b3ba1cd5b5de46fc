/**
 * The schema that the tests of this folder alter.
 *
 * @module
 */
/** Anything by name: what a schema may be before it is checked. */
export type Loose = Record<string, unknown>;

/** A schema with one device-scoped model `M`, altered by the arguments. */
export function schemaOf(fields: Loose = {}, process: Loose = { sync: "both" }, rest: Loose = {}): Loose {
  return {
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk" } },
    models: {
      M: {
        pk: { type: String, value: "m#${deviceId}" },
        sk: { type: String, value: "m#${id}" },
        deviceId: { type: String, required: true },
        id: { type: String, generate: "ulid" },
        ...fields,
      },
    },
    process: { M: process },
    ...rest,
  };
}
