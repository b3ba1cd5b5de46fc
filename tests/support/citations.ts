/**
 * What texts of the repository cite: rules by number, documents and files by path.
 *
 * @module
 */
import { readdirSync } from "node:fs";

/** A place that cites a rule, or a design document that is not in the repository. */
export interface Citation {
  readonly line: number;
  readonly what: "rules" | "design";
  /** `§3`, `3.4` or `A2`. */
  readonly cited: string;
}

const skipped = new Set([".git", ".twintable", "coverage", "dist", "node_modules", "golden"]);

/** The source files and documents, by path from the root. */
export function textFiles(root: string, folder = ""): string[] {
  return readdirSync(`${root}/${folder}`, { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : textFiles(root, path);
    return /\.(?:ts|md|js|json5?|yml|conf|acl)$|^Dockerfile$/.test(entry.name) ? [path] : [];
  });
}

/** What a text cites of the rules (`rules 3.4`, `rules §3`, `rules A2`) and of a design. */
export function citations(text: string): Citation[] {
  return text.split("\n").flatMap((content, i) => {
    const rules = [
      ...content.matchAll(/\brules? ((?:§\d+|\d\.\d+|[A-E]\d)(?:(?:,| and| or) (?:§\d+|\d\.\d+|[A-E]\d))*)/g),
    ]
      .flatMap(([, list]) => list!.match(/§\d+|\d\.\d+|[A-E]\d/g)!.map((cited) => ({ what: "rules" as const, cited })));
    const design = [...content.matchAll(/\bdesign §\d+/g)].map(([cited]) => ({ what: "design" as const, cited }));
    return [...rules, ...design].map((citation) => ({ line: i + 1, ...citation }));
  });
}
