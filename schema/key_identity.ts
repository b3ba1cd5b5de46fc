/**
 * The identity that a key tells. Keys keep devices and accounts apart only if a key's text says where an id begins and
 * ends: `a:b` followed by `c`, and `a` followed by `b:c`, must not make one key. It does where, from the beginning or from
 * the end of a template, nothing but literals and other ids comes before the id, and the literal next to it begins with a
 * character that no id has. Where that character is one of those that ids may have (`:`), ids of this schema must not have
 * it: `separators` lists them, and an id that has one is refused where such a key is made.
 *
 * So the key alone proves whose an item is, and an item that lacks the attribute (written by hand, or `encode`d) has an
 * owner all the same.
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
  /** From which end its template is read. */
  readonly end: "first" | "last";
  /** The template's parts up to the literal after the id, from that end on. */
  readonly parts: readonly TemplatePart[];
  /** The field that is required. */
  readonly field: string;
}

/** What a model's key says of identities. */
export interface KeyIdentity {
  /** By role, where its id stands. */
  readonly locators: { readonly [R in IdentityRole]?: Locator };
  /** Characters that ids must not have, as far as this model goes. */
  readonly separators: string;
}

const idCharacter = /^[A-Za-z0-9_.:-]$/;

/**
 * Works out where the ids stand in a key.
 *
 * @param roles the identity fields that the key names, by what they hold
 * @returns a locator for each id that can be told; none for one whose place is ambiguous
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

/** @param reserved whether characters that ids may have can separate, if ids are then denied them */
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

/** The id at a locator's place in a key's text; undefined if the text is none of the template's. */
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
