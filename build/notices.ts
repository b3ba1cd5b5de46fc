/**
 * The notices of the packages that a bundle has in it: their names, licences and licence texts, as the packages bring them.
 *
 * @module
 */
import { join } from "node:path";

interface Listed {
  readonly name: string;
  readonly version: string;
}

async function info(args: readonly string[]): Promise<Record<string, unknown>> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", ...args] })
    .output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout));
}

/** Where the package cache has a package: in a folder for each registry. */
async function folderOf(cache: string, { name, version }: Listed): Promise<string> {
  for await (const registry of Deno.readDir(cache)) {
    const folder = join(cache, registry.name, name, version);
    if (await Deno.stat(join(folder, "package.json")).then(() => true, () => false)) return folder;
  }
  throw new Error(`${name}@${version} is not in the package cache`);
}

async function noticeOf(cache: string, listed: Listed): Promise<string> {
  const folder = await folderOf(cache, listed);
  const { license, licenses } = JSON.parse(await Deno.readTextFile(join(folder, "package.json")));
  const texts: string[] = [];
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  for (const name of names.filter((one) => /^(licen[cs]e|copying|notice)/i.test(one))) {
    texts.push((await Deno.readTextFile(join(folder, name))).trim());
  }
  const kind = typeof license === "string" ? license : JSON.stringify(license ?? licenses ?? "not stated");
  return [`${listed.name} ${listed.version}: ${kind}`, ...texts].join("\n\n");
}

/** The notices of a module's packages, types left out: they are in no bundle. */
export async function noticesOf(config: string, entry: string): Promise<string> {
  const { npmCache } = await info([]) as { npmCache: string };
  const { npmPackages } = await info(["--config", config, entry]) as { npmPackages: Record<string, Listed> };
  const listed = Object.values(npmPackages).filter(({ name }) => !/^@types\/|^undici-types$/.test(name));
  listed.sort((a, b) => a.name < b.name ? -1 : 1);
  const notices = await Promise.all(listed.map((one) => noticeOf(npmCache, one)));
  return notices.join(`\n\n${"-".repeat(80)}\n\n`);
}
