/**
 * Generated ids, in the spellings that OneTable gives them. The caller provides time and randomness.
 *
 * @module
 */
import type { Field } from "./model.ts";

/** Crockford's base 32: no I, L, O, U. */
const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ulidTimeLength = 10;
const ulidRandomLength = 16;

/**
 * A new value for a field that has `generate`.
 *
 * @param now Milliseconds since 1970, whole and not negative; the leading part of a ULID.
 * @param random Gives numbers in [0, 1), as `Math.random` does.
 * @throws TypeError if the field generates nothing.
 */
export function generateValue(field: Field, now: number, random: () => number): string {
  switch (field.generate?.kind) {
    case "ulid":
      return ulid(now, random);
    case "uuid":
      return uuid(random);
    case "uid":
      return randomLetters(field.generate.length, random);
    default:
      throw new TypeError(`the field "${field.name}" generates nothing`);
  }
}

/** A ULID: 48 bits of time, 80 random bits, 26 letters; sorts by its time. */
export function ulid(now: number, random: () => number): string {
  let time = "";
  let rest = Math.max(0, Math.floor(now));
  for (let i = 0; i < ulidTimeLength; i++) {
    time = letters[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  return time + randomLetters(ulidRandomLength, random);
}

/** A UUID of version 4 in lower case. */
export function uuid(random: () => number): string {
  return "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx".replace(/[xy]/g, (c) => {
    const nibble = Math.floor(random() * 16);
    return (c === "x" ? nibble : (nibble & 3) | 8).toString(16);
  });
}

function randomLetters(length: number, random: () => number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += letters[Math.floor(random() * 32)];
  return text;
}
