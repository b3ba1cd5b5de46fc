/**
 * What a machine downloads that has the sources and nothing else: the packages that the command needs, never those of the tests.
 * From the registry itself, with an empty cache; where that can't be reached the tests say so and prove nothing.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { TempDir } from "../support/temp_dir.ts";
import { noted, unreachableIn } from "../support/tools.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const testsAlone = /^(fast-check|pure-rand|dynamodb-onetable|sql\.js|custom-metrics|yaml|dockerfile-utils)$/;

interface Downloaded {
  readonly packages: readonly string[];
  readonly bytes: number;
}

/** Every file below a folder: bytes, and the folders that hold a package. */
function look(folder: string, found: { packages: string[]; bytes: number }): Downloaded {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) look(path, found);
    else {
      found.bytes += Deno.statSync(path).size;
      const [, packageName] = path.match(/\/npm\/[^/]+\/((?:@[^/]+\/)?[^/]+)\/\d[^/]*\/package\.json$/) ?? [];
      if (packageName) found.packages.push(packageName);
    }
  }
  return found;
}

/** Runs a command with an empty cache; undefined where the registry can't be reached. */
async function downloaded(dir: TempDir, ...args: string[]): Promise<Downloaded | undefined> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...args, "--help"],
    cwd: root,
    env: { DENO_DIR: dir.path, NO_COLOR: "1" },
    stdout: "null",
  }).output();
  const said = new TextDecoder().decode(stderr);
  if (!success && noted(unreachableIn(said))) return undefined;
  assert.ok(success, said);
  return look(`${dir.path}/npm`, { packages: [], bytes: 0 });
}

for (
  const { args, packagesMax, megabytesMax } of [
    { args: ["mod.ts", "agent"], packagesMax: 50, megabytesMax: 15 },
    { args: ["agent_main.ts", "agent"], packagesMax: 50, megabytesMax: 15 },
    { args: ["mod.ts", "dev"], packagesMax: 120, megabytesMax: 40 },
  ]
) {
  const what = args.join(" ");
  Deno.test(`download: ${what} brings what it needs, ${megabytesMax} MB at most, and no test's package`, async () => {
    using dir = new TempDir();
    const found = await downloaded(dir, ...args);
    if (!found) return;
    const { packages, bytes } = found;
    console.log(`${what}: ${packages.length} packages, ${(bytes / 1e6).toFixed(1)} MB`);
    assert.ok(packages.includes("mqtt"), `${packages}`);
    assert.deepEqual(packages.filter((name) => testsAlone.test(name)), []);
    assert.ok(packages.length <= packagesMax, `${packages.length} packages: ${packages}`);
    assert.ok(bytes <= megabytesMax * 1e6, `${bytes} bytes`);
  });
}
