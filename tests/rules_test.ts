/**
 * docs/rules.md is the law: every rule that is cited exists, every rule names what guards it, and every planted bug belongs
 * to a rule.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { citations, textFiles } from "./support/citations.ts";
import { mutants } from "./sim/mutant_list.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const text = readFileSync(`${root}/docs/rules.md`, "utf8");

/** A name without backticks: Markdown needs them around underscores. */
const bare = (name: string) => name.replaceAll("`", "");

/** A rule: its number, and the names after "Guards:". Exceptions (§7) have none. */
function rules(): Map<string, { mutants: string[]; tests: string[] }> {
  const found = new Map<string, { mutants: string[]; tests: string[] }>();
  for (const block of text.split(/^(?=\*\*(?:\d\.\d+|[A-E]\d)(?: |\*\*))/m).slice(1)) {
    const id = /^\*\*(\d\.\d+|[A-E]\d)/.exec(block)![1]!;
    const guards = /^Guards: ([\s\S]*?)(?=\n\n|$(?![\s\S]))/m.exec(block)?.[1]?.replace(/\s+/g, " ") ?? "";
    assert.ok(!found.has(id), `the rule ${id} is there twice`);
    found.set(id, {
      mutants: [...guards.matchAll(/_((?:`[^`]*`|[^_])+)_(?=[,;.]| |$)/g)].map(([, name]) => bare(name!)).filter((
        name,
      ) => !name.includes("/")),
      tests: guards.match(/tests\/[\w/]+_test\.ts/g) ?? [],
    });
  }
  return found;
}

Deno.test("rules: each names guards that exist", () => {
  const names = new Set(mutants.map(({ name }) => bare(name)));
  const faults: string[] = [];
  for (const [id, guards] of rules()) {
    if (!id.startsWith("7") && guards.mutants.length + guards.tests.length === 0) faults.push(`${id} names no guard`);
    for (const name of guards.mutants) if (!names.has(name)) faults.push(`${id} names the planted bug "${name}"`);
    for (const file of guards.tests) if (!existsSync(`${root}/${file}`)) faults.push(`${id} names ${file}`);
  }
  assert.deepEqual(faults, []);
});

Deno.test("rules: each planted bug belongs to one", () => {
  const named = new Set([...rules().values()].flatMap((guards) => guards.mutants));
  assert.deepEqual(mutants.map(({ name }) => name).filter((name) => !named.has(bare(name))), []);
});

Deno.test("rules: what code and documents cite exists", () => {
  const known = new Set(rules().keys()), faults: string[] = [];
  for (const file of textFiles(root)) {
    if (file === "docs/rules.md") continue;
    for (const { line, cited, what } of citations(readFileSync(`${root}/${file}`, "utf8"))) {
      if (what === "design") faults.push(`${file}:${line} cites a document that is not here: ${cited}`);
      else if (cited.startsWith("§") && !text.includes(`\n## ${cited.slice(1)} `)) {
        faults.push(`${file}:${line} cites rules ${cited}`);
      } else if (!cited.startsWith("§") && !known.has(cited)) faults.push(`${file}:${line} cites rules ${cited}`);
    }
  }
  assert.deepEqual(faults, []);
});
