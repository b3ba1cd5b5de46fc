/**
 * Texts that a schema may not have anywhere: texts with a NUL, at which SQLite's parser ends (a default, a template or
 * a value of `enum` becomes SQL), and with half a surrogate pair, which is not Unicode and which no table can hold.
 *
 * @module
 */
import { quoted } from "./names.ts";
import type { JsonMap, Problems } from "./normalise.ts";
import type { Json } from "./values.ts";

/**
 * Reports each such text and name, by its place. `validate` is a regular expression, and never becomes SQL if it has a
 * NUL.
 */
export function checkTexts(schema: JsonMap, problems: Problems): void {
  const look = (value: Json, place: string): void => {
    if (typeof value === "string") {
      const why = value.includes("\0")
        ? "has a NUL character, at which SQL ends"
        : value.isWellFormed()
        ? undefined
        : "has half a surrogate pair, which is no text";
      if (why !== undefined) problems.push(`the text ${quoted(value)} ${place} ${why}`);
    } else if (typeof value === "object" && value !== null) {
      for (const [name, member] of Object.entries(value)) {
        if (!Array.isArray(value)) look(name, `as a name ${place}`);
        if (name !== "validate") look(member as Json, `${place}.${name.replaceAll("\0", "\\0")}`);
      }
    }
  };
  for (const part of ["version", "params", "indexes", "models", "process"]) {
    if (Object.hasOwn(schema, part)) look(schema[part]!, `at ${part}`);
  }
}
