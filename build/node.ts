/**
 * `deno task bundle:node [FOLDER]`: what runs on Node 22 and later, each in one file with all that it needs:
 *
 * - `dist/handler.mjs`: the stateless handler, whose default export is `{ fetch }` (`cloud/handler.ts`);
 * - `dist/lambda.mjs`: the same as an AWS Lambda function (`cloud/lambda.ts`);
 * - `dist/twintable.mjs`: the library (`agent/mod.ts`).
 *
 * @module
 */
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const entries = {
  handler: "cloud/handler.ts",
  lambda: "cloud/lambda.ts",
  twintable: "agent/mod.ts",
} as const;

const folder = resolve(Deno.args[0] ?? fileURLToPath(new URL("../dist", import.meta.url)));
Deno.chdir(fileURLToPath(new URL("..", import.meta.url)));
for (const [name, entry] of Object.entries(entries)) {
  const args = ["bundle", "--quiet", "--platform", "deno", "--output", join(folder, `${name}.mjs`), entry];
  const { code } = await new Deno.Command(Deno.execPath(), { args }).spawn().status;
  if (code !== 0) Deno.exit(code);
}
