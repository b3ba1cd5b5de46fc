/**
 * What a release says of what is in it, and what CI refuses to ship:
 *
 *     deno task sbom         dist/twintable.cdx.json (the device's program) and dist/twintable-cloud.cdx.json (everything):
 *                            CycloneDX 1.6, each package with its version, licence, integrity and what it depends on
 *     deno task checksums    dist/SHA256SUMS of what stands in dist/; `sha256sum -c SHA256SUMS` checks it
 *     deno task licences     fails where a shipped package has a licence that is not on the list below
 *
 * Versions and integrities are the lock's, which CI freezes. Advisories are the registry's to know: `deno audit`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Contrib, Enums, Models, Serialize, Spec } from "npm:@cyclonedx/cyclonedx-library@^10.3.0";
import { type Listed, packagesOf } from "./notices.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Programs, with the modules that they load by name: `mod.ts` names the cloud's commands in texts alone. */
const programs = {
  "twintable": ["agent_main.ts"],
  "twintable-cloud": [
    "mod.ts",
    "cli/dev.ts",
    "cli/cloud.ts",
    "cli/device.ts",
    "cli/broker.ts",
    "cli/audit.ts",
    "cloud/handler.ts",
    "cloud/lambda.ts",
  ],
};
export type ProgramName = keyof typeof programs;

/** Licences that ask for no more than their notice, which `twintable licenses` gives. */
const allowed: ReadonlySet<string> = new Set([
  "0BSD",
  "Apache-2.0",
  // As htmx spells 0BSD.
  "BSD-0-Clause",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "MIT-0",
  "Python-2.0",
  "Unlicense",
]);

/** A package that is shipped. */
export interface Shipped {
  readonly name: string;
  readonly version: string;
  /** As an SPDX expression, where the package says one. */
  readonly licence: string;
  /** `name@version` of those that it needs. */
  readonly needs: readonly string[];
  /** SHA-512 of its archive, hex, as the lock has it. */
  readonly sha512?: string;
}

const idOf = ({ name, version }: { name: string; version: string }) => `${name}@${version}`;

/** The packages of a program, each once, in the order of their names. */
export async function shippedBy(program: ProgramName): Promise<Shipped[]> {
  const lock = JSON.parse(await Deno.readTextFile(join(root, "deno.lock"))) as {
    readonly npm: Readonly<Record<string, { readonly integrity?: string }>>;
  };
  const listed = new Map<string, Listed>();
  for (const entry of programs[program]) {
    for (const one of await packagesOf(join(root, entry))) listed.set(idOf(one), one);
  }
  // A key of the listing may say for whom a package was chosen, after its version.
  const bare = (key: string) => /^(@?[^@_]+@[^_]+)/.exec(key)?.[1] ?? key;
  const shipped = await Promise.all([...listed.values()].map(async (one): Promise<Shipped> => {
    const { license, licenses } = JSON.parse(await Deno.readTextFile(join(one.localPath, "package.json")));
    const integrity = lock.npm[idOf(one)]?.integrity?.replace(/^sha512-/, "");
    return {
      name: one.name,
      version: one.version,
      licence: typeof license === "string" ? license : license?.type ?? licenses?.[0]?.type ?? "",
      needs: one.dependencies.map(bare).filter((id) => listed.has(id)),
      ...(integrity === undefined
        ? {}
        : { sha512: Array.from(atob(integrity), (c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("") }),
    };
  }));
  return shipped.sort((a, b) => idOf(a) < idOf(b) ? -1 : 1);
}

/** Why a package may not be shipped, a sentence each. */
export function licenceProblems(shipped: readonly Shipped[]): string[] {
  return shipped.filter(({ licence }) => !isAllowed(licence)).map((one) =>
    `${idOf(one)} has the licence ${JSON.stringify(one.licence)}, which is not on the list of build/supply_chain.ts`
  );
}

/** `A OR B` leaves the choice, `A AND B` asks for both. */
function isAllowed(expression: string): boolean {
  const text = expression.trim().replace(/^\((.*)\)$/, "$1");
  if (/ OR /.test(text)) return text.split(" OR ").some(isAllowed);
  return text.split(" AND ").every((one) => allowed.has(one.trim()));
}

/** The bill of materials of a program, as CycloneDX JSON. Alike packages make it alike: there is no time and no number in it. */
export function billOf(name: ProgramName, version: string, shipped: readonly Shipped[]): string {
  const licences = new Contrib.License.Factories.LicenseFactory((text) => / (OR|AND|WITH) /.test(text));
  const self = new Models.Component(Enums.ComponentType.Application, name, {
    version,
    bomRef: name,
    licenses: new Models.LicenseRepository([licences.makeFromString("MIT")]),
  });
  const components = new Map(shipped.map((one) => {
    const purl = `pkg:npm/${one.name.replace("@", "%40")}@${one.version}`;
    const [last = "", scope] = one.name.split("/").reverse();
    return [
      idOf(one),
      new Models.Component(Enums.ComponentType.Library, last, {
        bomRef: purl,
        purl,
        version: one.version,
        ...(scope === undefined ? {} : { group: scope }),
        licenses: new Models.LicenseRepository(one.licence === "" ? [] : [licences.makeFromString(one.licence)]),
        hashes: new Models.HashDictionary(
          one.sha512 === undefined ? [] : [[Enums.HashAlgorithm["SHA-512"], one.sha512]],
        ),
      }),
    ];
  }));
  const needed = new Set(shipped.flatMap(({ needs }) => needs));
  for (const one of shipped) {
    const component = components.get(idOf(one))!;
    for (const id of one.needs) component.dependencies.add(components.get(id)!.bomRef);
    if (!needed.has(idOf(one))) self.dependencies.add(component.bomRef);
  }
  const runtime = new Models.Component(Enums.ComponentType.Platform, "deno", {
    bomRef: "deno",
    version: Deno.version.deno,
    purl: `pkg:github/denoland/deno@v${Deno.version.deno}`,
    licenses: new Models.LicenseRepository([licences.makeFromString("MIT")]),
  });
  self.dependencies.add(runtime.bomRef);
  const bom = new Models.Bom({
    metadata: new Models.Metadata({ component: self }),
    components: new Models.ComponentRepository([runtime, ...components.values()]),
  });
  const factory = new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6);
  return `${new Serialize.JsonSerializer(factory).serialize(bom, { sortLists: true, space: 2 })}\n`;
}

/** `sha256sum`'s lines for the files of a folder. */
export async function checksumsOf(folder: string): Promise<string> {
  const names: string[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) if (isFile && name !== "SHA256SUMS") names.push(name);
  const lines = await Promise.all(
    names.sort().map(async (name) => {
      const hash = createHash("sha256");
      const file = await Deno.open(join(folder, name));
      for await (const chunk of file.readable) hash.update(chunk);
      return `${hash.digest("hex")}  ${name}\n`;
    }),
  );
  return lines.join("");
}

async function main(task: string | undefined, folder = join(root, "dist")): Promise<number> {
  const { version } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const names = Object.keys(programs) as ProgramName[];
  switch (task) {
    case "sbom":
      await Deno.mkdir(folder, { recursive: true });
      for (const name of names) {
        const shipped = await shippedBy(name), file = join(folder, `${name}.cdx.json`);
        await Deno.writeTextFile(file, billOf(name, version, shipped));
        console.log(`${file}: ${shipped.length} packages`);
      }
      return 0;
    case "checksums":
      await Deno.writeTextFile(join(folder, "SHA256SUMS"), await checksumsOf(folder));
      return 0;
    case "licences": {
      const problems = licenceProblems((await Promise.all(names.map(shippedBy))).flat());
      [...new Set(problems)].forEach((problem) => console.log(problem));
      console.log(`licences: ${problems.length === 0 ? "all on the list" : "see above"}`);
      return problems.length === 0 ? 0 : 1;
    }
    default:
      console.error("sbom, checksums or licences");
      return 2;
  }
}

if (import.meta.main) Deno.exit(await main(...Deno.args as [string, string]));
