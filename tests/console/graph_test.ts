/** What devices run has nothing of the console in it. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

for (const entry of ["agent_main.ts", "agent/mod.ts", "mod.ts"]) {
  Deno.test(`console: nothing of it is in the graph of ${entry}`, async () => {
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", entry],
      cwd: root,
    }).output();
    assert.equal(code, 0);
    const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
      modules: { specifier: string; dependencies?: { code?: unknown; isDynamic?: boolean; specifier: string }[] }[];
    };
    assert.ok(modules.length > 20);
    // The command line loads the cloud's half only when a command wants it.
    const eager = new Set<string>(), first = modules.find(({ specifier }) => specifier.endsWith(`/${entry}`))!;
    const walk = (specifier: string) => {
      if (eager.has(specifier)) return;
      eager.add(specifier);
      for (const { isDynamic, code } of modules.find((one) => one.specifier === specifier)?.dependencies ?? []) {
        const to = (code as { specifier?: string } | undefined)?.specifier;
        if (!isDynamic && to) walk(to);
      }
    };
    walk(first.specifier);
    const found = (entry === "mod.ts" ? [...eager] : modules.map(({ specifier }) => specifier))
      .filter((specifier) => /\/cloud\/console\/|hono|htmx|uplot/.test(specifier));
    assert.deepEqual(found, []);
  });
}
