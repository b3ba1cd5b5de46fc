/**
 * Items of the embedded table, which rest as tagged JSON (docs/protocol.md), as the attribute values that DynamoDB would
 * have, and back: so that everything that judges or writes items knows one form of them.
 *
 * @module
 */
import { type Av, type AvItem, canonDecimal, Digits, parseJson } from "./canon.ts";

/** The item of a text of the embedded table. */
export function itemOfTagged(text: string): AvItem {
  return membersOf(parseJson(text) as Members);
}

type Members = { readonly [name: string]: unknown };

function membersOf(map: Members): AvItem {
  return Object.fromEntries(Object.keys(map).map((name) => [name, avOf(map[name])]));
}

function avOf(value: unknown): Av {
  if (value === null) return { NULL: true };
  if (value instanceof Digits) return { N: value.text };
  if (typeof value === "string") return { S: value };
  if (typeof value === "boolean") return { BOOL: value };
  if (Array.isArray(value)) return { L: value.map(avOf) };
  const map = value as Members, names = Object.keys(map), only = map[names[0]!];
  switch (names.length === 1 ? names[0] : undefined) {
    case "$n":
      return { N: only as string };
    case "$b":
      return { B: only as string };
    case "$ss":
      return { SS: only as string[] };
    case "$ns":
      return { NS: only as string[] };
    case "$bs":
      return { BS: only as string[] };
    case "$m":
      return { M: membersOf(only as Members) };
    default:
      return { M: membersOf(map) };
  }
}

/** The text of an item for the embedded table. */
export function taggedOfItem(item: AvItem): string {
  return textOf({ M: item }, true);
}

function textOf(av: Av, isItem = false): string {
  if ("S" in av) return JSON.stringify(av.S);
  if ("N" in av) {
    const isDouble = canonDecimal(String(Number(av.N))) === canonDecimal(av.N);
    return isDouble ? String(Number(av.N)) : `{"$n":${JSON.stringify(av.N)}}`;
  }
  if ("BOOL" in av) return String(av.BOOL);
  if ("NULL" in av) return "null";
  if ("B" in av) return `{"$b":${JSON.stringify(av.B)}}`;
  if ("SS" in av) return `{"$ss":${JSON.stringify([...av.SS].sort())}}`;
  if ("NS" in av) return `{"$ns":${JSON.stringify(av.NS)}}`;
  if ("BS" in av) return `{"$bs":${JSON.stringify(av.BS)}}`;
  if ("L" in av) return `[${av.L.map((member) => textOf(member)).join(",")}]`;
  const names = Object.keys(av.M);
  const map = `{${names.map((name) => `${JSON.stringify(name)}:${textOf(av.M[name]!)}`).join(",")}}`;
  return !isItem && names.length === 1 && names[0]!.startsWith("$") ? `{"$m":${map}}` : map;
}
