/**
 * A process that migrates a database, to be killed while it does: `migration_kill_test.ts` runs it with the file's path and
 * the new schema's path.
 *
 * @module
 */
import { openStore } from "../../../agent/store/store.ts";
import { compileSchema } from "../../../schema.ts";

const [path, schemaPath] = Deno.args;
const schema = compileSchema(JSON.parse(Deno.readTextFileSync(schemaPath!)));
console.log("begin");
openStore({ path: path!, schema, identity: { deviceId: "dev-1", accountId: "acme" }, now: Date.now }).close();
console.log("done");
