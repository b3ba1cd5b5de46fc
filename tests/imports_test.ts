/**
 * The modules that are shipped are imported from anywhere: by a program in another folder, by `deno serve` of the handler from
 * there. So they name their packages in full, and in one version.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TempDir } from "./support/temp_dir.ts";

const root = new URL("../", import.meta.url);
const shipped = ["agent", "cli", "cloud", "mqtt", "protocol", "schema"];

async function* modules(dir: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    if (isDirectory) yield* modules(join(dir, name));
    else if (/\.tsx?$/.test(name)) yield join(dir, name);
  }
}

Deno.test("imports: each package is named in full, in the version of deno.json", async () => {
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const known = new Set(Object.values(imports));
  let found = 0;
  for (const dir of shipped) {
    for await (const file of modules(fileURLToPath(new URL(dir, root)))) {
      const text = await Deno.readTextFile(file);
      for (const [, specifier] of text.matchAll(/^(?:import|export)\b[^"]*?\bfrom "([^"]+)"|\bimport\("([^"]+)"\)/gm)) {
        if (specifier === undefined || /^(\.|node:)/.test(specifier)) continue;
        assert.ok(known.has(specifier), `${file}: "${specifier}" is none of deno.json's, in full`);
        found++;
      }
    }
  }
  assert.ok(found > 10);
});

Deno.test("imports: a program in another folder, without a deno.json, uses the library, the cloud and the handler", async () => {
  using dir = new TempDir();
  const program = dir.file("app.ts");
  const url = (path: string) => JSON.stringify(new URL(path, root).href);
  await Deno.writeTextFile(
    program,
    `import { compileSchema, openAgent } from ${url("mod.ts")};
    import { startCloud } from ${url("cloud/mod.ts")};
    import handler from ${url("cloud/handler.ts")};
    import { handler as lambda } from ${url("cloud/lambda.ts")};
    console.log([openAgent, compileSchema, startCloud, handler.fetch, lambda].map((one) => typeof one).join());`,
  );
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", program],
    cwd: dir.path,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  assert.equal(code, 0, decoder.decode(stderr));
  assert.equal(decoder.decode(stdout).trim(), Array(5).fill("function").join());
});

Deno.test("imports: each export of the package is a module that can be imported", async () => {
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  assert.deepEqual(Object.keys(exports), [".", "./schema", "./protocol", "./cloud", "./handler", "./lambda"]);
  for (const path of Object.values(exports) as string[]) {
    assert.ok(Object.keys(await import(new URL(path, root).href)).length > 0, path);
  }
});

Deno.test("imports: the deno.json of docs/in-your-project.md is all that a project needs", async () => {
  using dir = new TempDir();
  const page = await Deno.readTextFile(new URL("docs/in-your-project.md", root));
  const [, config] = page.match(/```json\n([^]*?)```/)!;
  assert.match(config!, /"\.\.\/twintable\//);
  Deno.symlinkSync(fileURLToPath(root), dir.file("twintable"));
  Deno.mkdirSync(dir.file("own"));
  Deno.writeTextFileSync(dir.file("own/deno.json"), config!);
  Deno.writeTextFileSync(
    dir.file("own/main.ts"),
    `import { defineSchema, openAgent } from "twintable";
    import { startCloud } from "twintable/cloud";
    const fields = { pk: { type: "string", value: "d#\${deviceId}" }, sk: { type: "string", value: "s#\${name}" },
      deviceId: { type: "string", required: true }, name: { type: "string", required: true }, n: { type: "number" } } as const;
    const schema = defineSchema({ format: "onetable:1.1.0", version: "1", indexes: { primary: { hash: "pk", sort: "sk" } },
      models: { Setting: fields }, process: { Setting: { sync: "both" } } });
    await using agent = await openAgent({ schema, device: "d", account: "a", path: "device.db" });
    agent.model("Setting").create({ name: "x", n: 7 });
    console.log(agent.model("Setting").get({ name: "x" })?.n, typeof startCloud);\n`,
  );
  // With the permissions that the page names for a device's program; the cloud's module alone wants more when it is used.
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--ignore-env",
      "--allow-net",
      "--allow-read",
      "--allow-write",
      "--no-check",
      "main.ts",
    ],
    cwd: dir.file("own"),
    env: { NO_COLOR: "1" },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.equal(new TextDecoder().decode(stdout), "7 function\n");
});

async function deno(...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert.ok(success, err!);
  return out! + err!;
}

Deno.test("imports: a package of this checkout has the sources and nothing else, and all that they import", async () => {
  const listing = await deno("publish", "--dry-run", "--allow-dirty", "--no-check");
  const published = new Set(
    [...listing.matchAll(/(file:\/\/\S+) \([\d.]+[KM]?B\)/g)].map(([, url]) => url!.slice(root.href.length)),
  );
  const odd = [...published].filter((path) =>
    !/^(agent|cli|cloud|mqtt|protocol|schema)\/.+\.(tsx?|js|css)$/.test(path) &&
    !/^((mod|schema|protocol|agent_main)\.ts|examples\/(schema|demo_device)\.ts|deno\.json|README\.md|CHANGELOG\.md|LICENSE)$/
      .test(path)
  );
  assert.deepEqual(odd, []);
  // The command line loads its commands by their names.
  const commands = [...published].filter((path) => /^cli\/[a-z_]+\.ts$/.test(path));
  assert.ok(commands.length > 20);
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const missing = new Set<string>();
  for (const entry of [...Object.values(exports) as string[], "agent_main.ts", ...commands]) {
    const { modules } = JSON.parse(await info(entry)) as { modules: { specifier: string }[] };
    for (const { specifier } of modules) {
      const path = specifier.startsWith(root.href) ? specifier.slice(root.href.length) : undefined;
      if (path !== undefined && !published.has(path)) missing.add(path);
    }
  }
  assert.deepEqual([...missing], []);
});

/** The modules of an entry; without what Deno warns of. */
async function info(entry: string): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", entry], cwd: root }).output();
  return new TextDecoder().decode(stdout);
}
