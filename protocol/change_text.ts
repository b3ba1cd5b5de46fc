/**
 * A change's JSON text, made once: its size decides whether it fits the batch, the agent stores it with the batch, and
 * sends it, perhaps several times. Making it is a large part of the cost of sending.
 *
 * @module
 */
import type { Change } from "./messages.ts";

/** Cached by object: a change is never altered. */
const texts = new WeakMap<Change, string>();

/** The change's JSON text. The change must not be altered any more. */
export function changeText(change: Change): string {
  let text = texts.get(change);
  if (text === undefined) texts.set(change, text = JSON.stringify(change));
  return text;
}

/** The JSON text of an object that has a list under one more name, `texts` being the list's elements as JSON. */
export function withList(object: object, name: string, texts: readonly string[]): string {
  const text = JSON.stringify(object);
  return `${text.slice(0, -1)}${text === "{}" ? "" : ","}${JSON.stringify(name)}:[${texts.join(",")}]}`;
}
