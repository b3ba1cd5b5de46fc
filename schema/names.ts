/**
 * Which names and ids are valid. They end up in topics, SQL, keys and file names, so the rules are narrow, and this is
 * their only place.
 *
 * @module
 */

/** 128 characters keep a topic, a client id and a key well within MQTT's and DynamoDB's limits. */
const idPattern = /^[A-Za-z0-9_.:-]{1,128}$/;
/** Names become SQL identifiers, JSON keys and TypeScript properties, and must be valid in all of them. */
const namePattern = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;

/** Whether the text may be a device or account id: 1–128 of `A-Z a-z 0-9 _ . : -`. */
export function isId(id: unknown): id is string {
  return typeof id === "string" && idPattern.test(id);
}

/**
 * Refuses what is not a device or account id.
 *
 * @param kind What the id is of, for the message: `device`, `account`.
 * @throws RangeError if it is not 1–128 characters of `A-Z a-z 0-9 _ . : -`.
 */
export function checkId(kind: string, id: string): void {
  if (!isId(id)) {
    throw new RangeError(`the ${kind} id ${quoted(id)} is refused: 1 to 128 of A-Z a-z 0-9 _ . : - are required`);
  }
}

/**
 * Whether the text may name a model, a field or an attribute: a letter, then letters, digits and `_`, 64 at most. Names
 * that every JavaScript object has (`constructor`, `toString`, …) are invalid: an absent property would seem to exist.
 */
export function isName(name: string): boolean {
  return namePattern.test(name) && !(name in Object.prototype);
}

/** What {@link isName} requires, in words for a message. */
export const nameRule = "it needs a letter, then up to 63 letters, digits or _, and be no property of every object";

/** A value in quotes for a message, cut at 80 characters. */
export function quoted(value: unknown): string {
  const text = typeof value === "string" ? value : describe(value);
  return JSON.stringify(text.length > 80 ? text.slice(0, 77) + "…" : text);
}

function describe(value: unknown): string {
  if (typeof value === "function") return value.name || "a function";
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    // Cyclic objects and bigints have no JSON: a message can only name the type.
    return `a value of type ${typeof value}`;
  }
}
