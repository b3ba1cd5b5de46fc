import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

interface Graph {
  readonly roots: readonly string[];
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
      readonly isDynamic?: boolean;
    }[];
  }[];
}

async function graphOf(path: string): Promise<Graph> {
  const file = fileURLToPath(new URL(`../../${path}`, import.meta.url));
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", file] }).output();
  // Relative to this project, which may stand in a folder of any name.
  return JSON.parse(new TextDecoder().decode(stdout).replaceAll(new URL("../../", import.meta.url).href, "file:///"));
}

/** What a device has no use for: the cloud's modules, and packages beside those of MQTT, JSON5, CSV and logging. */
const foreign = /\/cloud\/.+\.ts$|^npm:\/(?!mqtt@|json5@|@logtape\/|csv-)/;

for (const path of ["mod.ts", "agent_main.ts", "agent/agent.ts", "cli/agent.ts", "cli/status.ts", "cli/schema.ts"]) {
  Deno.test(`graph: ${path} loads nothing of the cloud`, async () => {
    const { modules } = await graphOf(path);
    assert.ok(modules.length > 10);
    assert.deepEqual(modules.map(({ specifier }) => specifier).filter((specifier) => foreign.test(specifier)), []);
  });
}

Deno.test("graph: nothing resolves the FFI driver's package, which no machine needs that does not ask for it", async () => {
  const { modules } = await graphOf("cli/dev.ts");
  assert.deepEqual(modules.filter(({ specifier }) => specifier.startsWith("jsr:")), []);
  // The same listing does see the cloud behind the commands that need it.
  assert.ok(modules.filter(({ specifier }) => foreign.test(specifier)).length > 10);
});

/** What is loaded before anything asks for more. */
function loadedAtOnce({ roots, modules }: Graph): string[] {
  const byName = new Map(modules.map((module) => [module.specifier, module]));
  const loaded = new Set(roots);
  for (const specifier of loaded) {
    for (const { code, isDynamic } of byName.get(specifier)?.dependencies ?? []) {
      if (code?.specifier && !isDynamic) loaded.add(code.specifier);
    }
  }
  return [...loaded];
}

Deno.test("graph: the handler loads neither SQLite, nor a broker, nor the AWS SDK before its configuration names them", async () => {
  const loaded = loadedAtOnce(await graphOf("cloud/handler.ts"));
  assert.ok(loaded.length > 30);
  assert.deepEqual(loaded.filter((specifier) => /sqlite|aedes|aws-sdk|smithy|\/embedded\//.test(specifier)), []);
});
