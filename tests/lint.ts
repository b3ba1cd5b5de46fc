/**
 * What `deno task check` looks at beside format, lints and types: modules that import each other in a circle, tables with rows
 * that no terminal shows, and documents that name a file which is not here. Prints a line for each; exits with 1 where
 * there is one.
 *
 *     deno run -A --no-check tests/lint.ts
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import { citations, textFiles } from "./support/citations.ts";

/** Longer rows of a table wrap in a terminal and in a review. */
const rowMax = 120;
/** What the history of performance and the log of changes say about files is about that time. */
const historical = ["CHANGELOG.md", "docs/performance.md"];

/** The circles of imports that exist at run time: of two such modules one is run before it has what it imports. */
export function circles(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [], done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) return void found.push([...path.slice(at), file]);
    if (done.has(file)) return;
    for (const next of imports.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  return found;
}

/** The modules of the tree that a module imports, by path; not those of which it takes types alone. */
export function importsOf(file: string, text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  return [...code.matchAll(/^(?:import|export) (?!type\b)[^;"]*?\bfrom "(\.[^"]*)";|^import "(\.[^"]*)";/gm)]
    .map(([, from, bare]) => posix.normalize(posix.join(posix.dirname(file), (from ?? bare)!)));
}

/** Rows of tables that are too long, outside of code. */
export function longRows(text: string): { line: number; length: number }[] {
  let inCode = false;
  return text.split("\n").flatMap((content, i) => {
    if (content.startsWith("```")) inCode = !inCode;
    return !inCode && content.startsWith("|") && content.length > rowMax
      ? [{ line: i + 1, length: content.length }]
      : [];
  });
}

/** What a document links to or names as a file, that is not there. */
export function missingFiles(file: string, text: string, has: (path: string) => boolean): string[] {
  const folder = posix.dirname(file);
  const links = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, target]) => target!)
    .filter((target) => !/^[a-z+]+:/i.test(target))
    .map((target) => posix.normalize(posix.join(folder, target)));
  const named = [
    ...text.matchAll(/`((?:agent|bench|cli|cloud|docs|examples|mqtt|protocol|schema|tests)\/[\w./-]+\.(?:ts|md))`/g),
  ]
    .map(([, target]) => target!);
  return [...new Set([...links, ...named])].filter((path) => !has(path));
}

function main(): number {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const files = textFiles(root), faults: string[] = [], imports = new Map<string, string[]>();
  const has = (path: string) => existsSync(`${root}/${path}`);
  for (const file of files) {
    const text = readFileSync(`${root}/${file}`, "utf8");
    if (file.endsWith(".ts")) imports.set(file, importsOf(file, text).filter((path) => files.includes(path)));
    for (const { line, cited, what } of citations(text)) {
      if (what === "design") faults.push(`${file}:${line} cites a document that is not here: ${cited}`);
    }
    if (!file.endsWith(".md")) continue;
    for (const { line, length } of longRows(text)) {
      faults.push(`${file}:${line} a row of ${length} columns: make the table a list`);
    }
    if (historical.includes(file)) continue;
    for (const path of missingFiles(file, text, has)) faults.push(`${file} cites a document that is not here: ${path}`);
  }
  for (const circle of circles(imports)) faults.push(`these import each other: ${circle.join(" → ")}`);
  for (const fault of faults) console.log(fault);
  console.log(`lint: ${files.length} files, ${faults.length} faults`);
  return faults.length > 0 ? 1 : 0;
}

if (import.meta.main) Deno.exit(main());
