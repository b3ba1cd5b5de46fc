/**
 * Runs the end-to-end suite of the foundation on each emulator and each broker, plain and TLS, MQTT 3.1.1 and 5:
 * `deno task test:everywhere [TABLE [BROKER]]`. Left out is what starts tables and brokers of its own, and what measures
 * this machine. The last line is the summary; the exit code is 0 only if nothing failed.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { brokerKinds, tableKinds } from "../support/world.ts";

const suite = ["clock", "conflict", "kill", "living", "locks", "offline", "scopes", "size", "sql", "wrong_input"]
  .map((name) => fileURLToPath(new URL(`./${name}_test.ts`, import.meta.url)));

const [tableName, brokerName] = Deno.args;
const tables = (await tableKinds()).filter(({ name }) => tableName ? name === tableName : name !== "embedded");
// Several workers at once are what the matrix and the workers' own tests have.
const brokers = brokerKinds.filter(({ name, workers }) => brokerName ? name === brokerName : !workers);
if (tables.length === 0 || brokers.length === 0) {
  console.error(
    `there is no such table or broker: ${[...await tableKinds(), ...brokerKinds].map((one) => one.name).join("; ")}`,
  );
  Deno.exit(2);
}

const failed: string[] = [];
for (const table of tables) {
  for (const broker of brokers) {
    const pair = `${table.name}, ${broker.name}`;
    console.log(`--- ${pair}`);
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", ...suite],
      env: { TWINTABLE_E2E_TABLE: table.name, TWINTABLE_E2E_BROKER: broker.name },
    }).spawn().status;
    if (!success) failed.push(pair);
  }
}
const pairs = tables.length * brokers.length;
console.log(
  `${pairs - failed.length} pairs passed, ${failed.length} failed${failed.map((pair) => `; ${pair}`).join("")}`,
);
Deno.exit(failed.length === 0 ? 0 : 1);
