/**
 * The schema of the benchmarks: a measurement as devices send it (six columns), a setting both ways, a command for one
 * device, a notice for an account.
 *
 * @module
 */
import { compileSchema, defineSchema } from "../schema.ts";

const device = { type: "string", value: "device#${deviceId}" } as const;
const needed = { type: "string", required: true } as const;

/** See the module. */
export const benchSchema = defineSchema({
  format: "onetable:1.1.0",
  version: "1.0.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Telemetry: {
      pk: device,
      sk: { type: "string", value: "telemetry#${id}" },
      deviceId: needed,
      id: { type: "string", generate: "ulid" },
      n: { type: "number" },
      cpu: { type: "number" },
      memory: { type: "number" },
      state: { type: "string" },
    },
    Setting: {
      pk: device,
      sk: { type: "string", value: "setting#${name}" },
      deviceId: needed,
      name: needed,
      n: { type: "number" },
      value: { type: "number" },
    },
    Command: {
      pk: device,
      sk: { type: "string", value: "command#${name}" },
      deviceId: needed,
      name: needed,
      n: { type: "number" },
      value: { type: "number" },
      text: { type: "string" },
    },
    Notice: {
      pk: { type: "string", value: "account#${accountId}" },
      sk: { type: "string", value: "notice#${name}" },
      accountId: needed,
      name: needed,
      n: { type: "number" },
      text: { type: "string" },
    },
  },
  process: {
    Telemetry: { sync: "up" },
    Setting: { sync: "both" },
    Command: { sync: "down" },
    Notice: { sync: "down" },
  },
});

/** Compiled. */
export const compiled = compileSchema(benchSchema);

/** The schema with so many models more, each like `Setting`. */
export function schemaWith(modelsMore: number): typeof benchSchema {
  const { models, process } = benchSchema;
  const names = Array.from({ length: modelsMore }, (_, i) => `More${i}`);
  const more = names.map((name) => {
    const sk = { type: "string", value: `${name}#\${name}` };
    return [name, { ...models.Setting, sk }];
  });
  return {
    ...benchSchema,
    models: { ...models, ...Object.fromEntries(more) },
    process: { ...process, ...Object.fromEntries(names.map((name) => [name, { sync: "both" }])) },
  };
}

/** The measurement number `n`, in the order of its model's columns: `id` and `deviceId` give themselves. */
export function telemetryValues(n: number): [n: number, cpu: number, memory: number, state: string] {
  return [n, (n * 37 % 1000) / 10, 2_000_000 + n * 4096 % 1_000_000, n % 50 === 0 ? "warn" : "ok"];
}

/** Inserts one measurement; {@link telemetryValues} bind it. */
export const insertTelemetrySql = "INSERT INTO Telemetry(n, cpu, memory, state) VALUES (?, ?, ?, ?)";
