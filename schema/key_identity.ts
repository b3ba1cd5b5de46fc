/**
 * The identity in a key. Keys separate devices and accounts only if a key's text shows where an id begins and ends:
 * `a:b` followed by `c`, and `a` followed by `b:c`, must not make the same key. It does if, from the beginning or from
 * the end of a template, only literals and other ids come before the id, and the literal next to it begins with a
 * character that no id has. If ids may have that character (`:`), ids of this schema must not: `separators` lists these
 * characters, and making such a key refuses an id that has one.
 *
 * So the key alone proves who owns an item, and an item that lacks the attribute (written by hand, or `encode`d) still
 * has an owner.
 *
 * @module
 */
import type { IdentityRole } from "./identity.ts";
import { isId } from "./names.ts";
import type { Template, TemplatePart } from "./template.ts";

/** How an id is found in a key. */
export interface Locator {
  /** Which part of the key has it. */
  readonly part: "hash" | "sort";
  /** The end from which its template is read. */
  readonly end: "first" | "last";
  /** The template's parts up to the literal after the id, from that end on. */
  readonly parts: readonly TemplatePart[];
  /** The field that is required. */
  readonly field: string;
}

/** The identities in a model's key. */
export interface KeyIdentity {
  /** By role, where its id is. */
  readonly locators: { readonly [R in IdentityRole]?: Locator };
  /** Characters that ids must not have because of this model. */
  readonly separators: string;
}

const idCharacter = /^[A-Za-z0-9_.:-]$/;

/**
 * Works out where the ids are in a key.
 *
 * @param roles the identity fields that the key names, by what they hold
 * @returns a locator for each id that can be found; none if its place is ambiguous
 */
export function keyIdentity(
  hash: Template,
  sort: Template | undefined,
  roles: ReadonlyMap<string, IdentityRole>,
): KeyIdentity {
  const locators: { [R in IdentityRole]?: Locator } = {};
  let separators = "";
  for (const [field, role] of roles) {
    for (const reserved of [false, true]) {
      const found = locate(hash, "hash", field, roles, reserved) ??
        (sort && locate(sort, "sort", field, roles, reserved));
      if (!found) continue;
      locators[role] = found.locator;
      for (const character of found.separators) if (!separators.includes(character)) separators += character;
      break;
    }
  }
  return { locators, separators };
}

/** @param reserved whether characters that ids may have can be separators, if ids then must not have them */
function locate(
  template: Template,
  part: "hash" | "sort",
  field: string,
  roles: ReadonlyMap<string, IdentityRole>,
  reserved: boolean,
): { locator: Locator; separators: string } | undefined {
  for (const end of ["first", "last"] as const) {
    const parts = end === "first" ? template.parts : [...template.parts].reverse();
    let separators = "";
    for (let i = 0; i < parts.length; i++) {
      const at = parts[i]!;
      if ("literal" in at) continue;
      if (!roles.has(at.field) || at.width !== undefined) break;
      const next = parts[i + 1];
      const border = !next ? "" : "literal" in next ? (end === "first" ? next.literal[0]! : next.literal.at(-1)!) : "?";
      if (border === "?") break;
      if (idCharacter.test(border)) {
        if (!reserved) break;
        separators += border;
      }
      if (at.field === field) return { locator: { part, end, parts: parts.slice(0, i + 2), field }, separators };
    }
  }
  return undefined;
}

/** The id at a locator's place in a key's text; undefined if the text does not match the template. */
export function idAt(locator: Locator, text: string, separators: string): string | undefined {
  const { end, parts, field } = locator;
  const takes = (character: string) => idCharacter.test(character) && !separators.includes(character);
  let rest = text, found: string | undefined;
  for (const part of parts) {
    if ("literal" in part) {
      const fits = end === "first" ? rest.startsWith(part.literal) : rest.endsWith(part.literal);
      if (!fits) return undefined;
      rest = end === "first" ? rest.slice(part.literal.length) : rest.slice(0, rest.length - part.literal.length);
      continue;
    }
    let length = 0;
    while (length < rest.length && takes(end === "first" ? rest[length]! : rest[rest.length - 1 - length]!)) length++;
    const id = end === "first" ? rest.slice(0, length) : rest.slice(rest.length - length);
    if (part.field === field) found = id;
    rest = end === "first" ? rest.slice(length) : rest.slice(0, rest.length - length);
  }
  return isId(found) ? found : undefined;
}
