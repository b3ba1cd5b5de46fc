/**
 * Where npm's ORMs are: installed once into a folder outside of the repository, by `deno task orms` (CI does), or named by
 * `TWINTABLE_ORMS`. They run on Node: better-sqlite3 is a native module of its.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { missingTools } from "../../support/tools.ts";

/** What is installed. Majors, so that a probe tells what a new minor breaks. */
const packages = ["better-sqlite3@12", "drizzle-orm@0", "drizzle-kit@0", "kysely@0", "knex@3", "typeorm@1", "prisma@7"]
  .concat(["@prisma/client@7", "@prisma/adapter-better-sqlite3@7"]);

function usualFolder(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? join(Deno.env.get("HOME") ?? ".", ".cache");
  return join(cache, "twintable-ci", "orms");
}

/** The folder that has the packages in its `node_modules`. */
export const ormsFolder = Deno.env.get("TWINTABLE_ORMS") || usualFolder();

/** Why a package can't be tried here; undefined where it can. */
export function missingPackage(...names: string[]): string | undefined {
  const tool = missingTools("node");
  if (tool !== undefined) return tool;
  const missing = names.filter((name) => {
    try {
      return !Deno.statSync(join(ormsFolder, "node_modules", name)).isDirectory;
    } catch {
      return true;
    }
  });
  return missing.length === 0 ? undefined : `${missing.join(", ")} of npm: not installed (deno task orms)`;
}

/** Installs them. Where Node's headers are beside it (Debian's libnode-dev), native modules need nothing else from anywhere. */
function install(): number {
  Deno.mkdirSync(ormsFolder, { recursive: true });
  Deno.writeTextFileSync(join(ormsFolder, "package.json"), '{ "private": true }\n');
  const node = new Deno.Command("node", { args: ["-p", "process.execPath"] }).outputSync();
  const prefix = dirname(dirname(new TextDecoder().decode(node.stdout).trim()));
  const headers = join(prefix, "include/node/node.h");
  let flags: string[] = [];
  try {
    if (Deno.statSync(headers).isFile) flags = [`--nodedir=${prefix}`];
  } catch {
    // npm looks for a built one, or for headers elsewhere.
  }
  return new Deno.Command("npm", {
    args: ["install", "--no-audit", "--no-fund", "--loglevel=error", ...flags, ...packages],
    cwd: ormsFolder,
    stdout: "inherit",
    stderr: "inherit",
  }).outputSync().code;
}

if (import.meta.main) Deno.exit(install());
