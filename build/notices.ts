/**
 * The notices of the packages that a bundle has in it: their names, licences and licence texts, as the packages bring them.
 *
 * @module
 */
import { join } from "node:path";

/** A package of the listing. */
export interface Listed {
  readonly name: string;
  readonly version: string;
  /** Keys of other packages in the listing. */
  readonly dependencies: readonly string[];
  /** Its folder in the package cache. */
  readonly localPath: string;
}

interface Listing {
  readonly modules: readonly { readonly npmPackage?: string }[];
  readonly npmPackages: Readonly<Record<string, Listed>>;
}

async function info(args: readonly string[]): Promise<Record<string, unknown>> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", ...args] })
    .output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout));
}

async function noticeOf(listed: Listed): Promise<string> {
  const folder = listed.localPath;
  const { license, licenses } = JSON.parse(await Deno.readTextFile(join(folder, "package.json")));
  const texts: string[] = [];
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  for (const name of names.filter((one) => /^(licen[cs]e|copying|notice)/i.test(one))) {
    texts.push((await Deno.readTextFile(join(folder, name))).trim());
  }
  const kind = typeof license === "string" ? license : JSON.stringify(license ?? licenses ?? "not stated");
  return [`${listed.name} ${listed.version}: ${kind}`, ...texts].join("\n\n");
}

/** The packages that a module needs, of all that the project's lock has; types left out: they are in no bundle. */
export async function packagesOf(entry: string): Promise<Listed[]> {
  const { modules, npmPackages } = await info([entry]) as unknown as Listing;
  const needed = new Set(modules.flatMap(({ npmPackage }) => npmPackage ?? []));
  for (const key of needed) {
    for (const dependency of npmPackages[key]!.dependencies) needed.add(dependency);
  }
  const listed = [...needed].map((key) => npmPackages[key]!).filter(({ name }) =>
    !/^@types\/|^undici-types$/.test(name)
  );
  return listed.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The notices of a module's packages. */
export async function noticesOf(entry: string): Promise<string> {
  const notices = await Promise.all((await packagesOf(entry)).map(noticeOf));
  return notices.join(`\n\n${"-".repeat(80)}\n\n`);
}
