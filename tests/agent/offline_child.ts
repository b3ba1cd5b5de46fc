/**
 * An agent in a process with fewer rights than it needs: `offline_child.ts DB URL`. It runs until it is ended.
 */
import { openAgent } from "../../agent/open.ts";
import { e2eSchema } from "../support/schema.ts";

const [path, mqtt] = Deno.args as [string, string];
await openAgent({ schema: e2eSchema, device: "dev-1", account: "acme", path, mqtt, password: "t" });
