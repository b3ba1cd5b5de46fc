/**
 * The machine's own settings of whom TLS trusts, as a proxy or a company's network needs them: taken out of the environment of
 * a process that tests, so that no program which it starts has to say that they are there. Imported for that.
 *
 * @module
 */
import { tlsVariables } from "../../cli/secret.ts";

for (const { name } of tlsVariables) Deno.env.delete(name);
