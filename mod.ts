/**
 * Twintable syncs two databases: the SQLite database on a device and a DynamoDB table in the cloud. This module is
 * the public API of the device's side, of schemas and of the wire's types; run as a program it is the command line. The
 * cloud's side is `./cloud/mod.ts`.
 *
 * @example An agent that works locally; with `mqtt` it syncs.
 * ```ts
 * import { defineSchema, openAgent } from "./mod.ts";
 *
 * const schema = defineSchema({
 *   version: "0.0.1",
 *   indexes: { primary: { hash: "pk", sort: "sk" } },
 *   models: {
 *     Setting: {
 *       pk: { type: "string", value: "device#${deviceId}" },
 *       sk: { type: "string", value: "setting#${name}" },
 *       deviceId: { type: "string", required: true },
 *       name: { type: "string", required: true },
 *       value: { type: "number", required: true },
 *     },
 *   },
 *   process: { Setting: { sync: "both" } },
 * });
 *
 * await using agent = await openAgent({ schema, device: "d-1", account: "a-1", path: ":memory:" });
 * agent.model("Setting").create({ name: "volume", value: 7 });
 * const setting = agent.model("Setting").get({ name: "volume" });
 * if (setting?.value !== 7) throw new Error("unexpected");
 * ```
 *
 * @module
 */
export * from "./agent/mod.ts";

if (import.meta.main) {
  // Should the event loop run empty before there is an answer.
  Deno.exitCode = 1;
  // Nothing is awaited here: a schema file may import this module, and would wait for its end, which waits for the schema.
  // Everything is closed when a command is over; a library's forgotten timer must not keep the process.
  Promise.all([import("./cli/main.ts"), import("./cli/all_commands.ts")])
    .then(([{ main }, { everything }]) => main(Deno.args, everything)).then((code) => Deno.exit(code));
}
