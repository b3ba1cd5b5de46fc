/**
 * A TypeScript application with the agent inside. Start `deno run -A mod.ts`, get a token for a device of its own, and run it:
 *
 *     deno run -A mod.ts device add app-1 --account demo
 *     deno run -A examples/app.ts app-1 TOKEN mqtt://127.0.0.1:1883
 *
 * The application works the same without a connection: it talks to its own database, and the agent catches up.
 *
 * @module
 */
import { openAgent } from "../mod.ts";
import { schema } from "./schema.ts";

async function run([device = "app-1", token = "", mqtt = "mqtt://127.0.0.1:1883"]: readonly string[]): Promise<void> {
  await using agent = await openAgent({ schema, device, account: "demo", path: `${device}.db`, mqtt, password: token });

  agent.watch("Site", ({ op, key }) => console.log(`from the cloud: ${op} ${key[1]}`));

  agent.model("Site").upsert({ name: "harbour", address: "Pier 3", open: true });
  const { items } = agent.model("Site").find({ open: true });
  for (const site of items) console.log(`${site.name}: ${site.address ?? "no address"}`);

  await agent.flush({ timeoutMs: 10_000 });
  console.log(`${agent.status().outbox} changes wait for the cloud`);
}

if (import.meta.main) await run(Deno.args);
