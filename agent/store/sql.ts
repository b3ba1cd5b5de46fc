/**
 * The SQL texts that the store uses: names, literals, the current time, generated ids, and value templates. All of it
 * runs in any process that opens the file, on SQLite 3.38 and later, without functions of our own.
 *
 * Guarantee: {@link templateSql} gives byte for byte what `renderTemplate` gives for the same row.
 *
 * @module
 */
import { idIn } from "../../schema/identity.ts";
import type { Field, Identity, Model } from "../../schema/model.ts";
import type { Template } from "../../schema/template.ts";

/** A name, quoted. */
export function ident(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text, quoted. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A finite number as a literal: only digits if it is whole, so that it is an INTEGER. */
export function numeral(value: number): string {
  return Number.isSafeInteger(value) ? String(value) : /[.e]/.test(String(value)) ? String(value) : `${value}.0`;
}

/** The wall clock's ms since 1970, an integer. Julian days hold it to 0.04 ms; adding a half rounds. */
export const nowMsSql = "CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)";

/** The wall clock as ISO text with ms, as `Date.toISOString` writes it. */
export const nowIsoSql = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

/** The alphabet of ULIDs: base 32 without I, L, O and U. */
const letters = "'0123456789ABCDEFGHJKMNPQRSTVWXYZ'";

/** `count` random letters. `random()` differs at each call; its lowest five bits choose. */
function randomLettersSql(count: number): string {
  return Array.from({ length: count }, () => `substr(${letters}, (random() & 31) + 1, 1)`).join(" || ");
}

/** A default that generates a value as `generate` says. A default can't have a subquery, hence the repeated clock. */
export function generatorSql({ kind, length }: NonNullable<Field["generate"]>): string {
  if (kind === "uid") return randomLettersSql(length);
  if (kind === "ulid") {
    const time = Array.from(
      { length: 10 },
      (_, i) => `substr(${letters}, ((${nowMsSql} >> ${45 - 5 * i}) & 31) + 1, 1)`,
    );
    // Hexadecimal digits are letters of a ULID, too: 64 random bits for each millisecond instead of 80, for one call
    // instead of 32 (measured: a fifth of an insert with its capture).
    return `${time.join(" || ")} || hex(randomblob(8))`;
  }
  return "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || " +
    "substr('89ab', (random() & 3) + 1, 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))";
}

/** A field's value in a template: the text of its item form. NULL stays NULL. */
function partSql(field: Field, column: string, inKey: boolean): string {
  switch (field.type) {
    case "number":
      // In a key, the table accepts only whole numbers, as INTEGER, whole REAL or digits.
      if (inKey) return `CAST(${column} AS INTEGER)`;
      // A whole number renders as digits, in whatever form it is stored; other numbers do not render.
      return `CASE typeof(${column}) WHEN 'integer' THEN ${column} WHEN 'real' THEN ` +
        `CASE WHEN ${column} = CAST(${column} AS INTEGER) AND abs(${column}) <= 9007199254740991 ` +
        `THEN CAST(${column} AS INTEGER) END ` +
        `WHEN 'text' THEN CASE WHEN CAST(CAST(${column} AS INTEGER) AS TEXT) = ${column} THEN ${column} END END`;
    case "boolean":
      return `CASE ${column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END`;
    case "date":
      // A key takes only the canonical text (the table checks it); elsewhere SQLite's other spellings are converted to
      // it, by way of the day's number, because SQLite 3.40 and 3.46 render a 30th of February differently as text.
      return inKey || !field.isoDates ? column : `strftime('%Y-%m-%dT%H:%M:%fZ', julianday(${column}))`;
    default:
      return column;
  }
}

/**
 * Whether a column is a date as `2024-12-31T23:59:59.000Z`, of a day that exists. By its text alone: SQLite's date
 * functions judge a 30th of February differently from version to version, and every version that opens the file must
 * agree.
 */
export function canonicalDateSql(column: string): string {
  const digits = (n: number) => "[0-9]".repeat(n);
  const shape = `${digits(4)}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].${digits(3)}Z`;
  const part = (from: number, length: number) => `substr(${column}, ${from}, ${length})`;
  const year = `CAST(${part(1, 4)} AS INTEGER)`;
  const isLeap = `(${year} % 4 = 0 AND (${year} % 100 <> 0 OR ${year} % 400 = 0))`;
  const days = `CASE ${part(6, 2)} WHEN '02' THEN CASE WHEN ${isLeap} THEN '29' ELSE '28' END ` +
    `WHEN '04' THEN '30' WHEN '06' THEN '30' WHEN '09' THEN '30' WHEN '11' THEN '30' ELSE '31' END`;
  return `${column} GLOB '${shape}' AND ${part(6, 2)} BETWEEN '01' AND '12' AND ` +
    `${part(9, 2)} BETWEEN '01' AND ${days} AND ${part(12, 2)} <= '23'`;
}

/** Matches a text that has a character outside the basic plane: SQLite counts it as one, JavaScript as two. */
export const astralPattern = "'*[' || char(65536) || '-' || char(1114111) || ']*'";

/** `text` padded at the left to `width` characters with the single character `pad`; NULL where lengths would be ambiguous. */
function paddedSql(text: string, width: number, pad: string): string {
  const t = `CAST((${text}) AS TEXT)`;
  return `CASE WHEN ${t} GLOB ${astralPattern} THEN NULL WHEN length(${t}) < ${width} ` +
    `THEN replace(hex(zeroblob(${width} - length(${t}))), '00', ${literal(pad)}) || ${t} ELSE ${t} END`;
}

/**
 * A template as an SQL expression of type TEXT, NULL where a named field is NULL. The agent's own identity is a literal
 * if the model's key names it, since no row may have another.
 *
 * @param columnOf the SQL of a field's column: a name, or `new."name"` in a trigger
 */
export function templateSql(
  template: Template,
  model: Model,
  identity: Identity,
  columnOf: (field: string) => string = ident,
): string {
  const parts: string[] = [];
  let fixed = "";
  const flush = () => {
    if (fixed !== "") parts.push(literal(fixed));
    fixed = "";
  };
  for (const part of template.parts) {
    const own = "field" in part && model.identityFields.includes(part.field)
      ? idIn(model, identity, part.field)
      : undefined;
    if ("literal" in part) fixed += part.literal;
    else if (own !== undefined) fixed += own.padStart(part.width ?? 0, part.pad);
    else {
      flush();
      const field = model.fields.find((f) => f.name === part.field);
      const column = columnOf(part.field);
      const text = field ? partSql(field, column, keyed(model, field)) : "NULL";
      if (part.width !== undefined) parts.push(`(${paddedSql(text, part.width, part.pad ?? "0")})`);
      else parts.push(text.startsWith("CASE") ? `(${text})` : text);
    }
  }
  flush();
  if (parts.length === 0) return "''";
  const isText = parts[0]!.startsWith("'");
  return parts.length === 1 && !isText ? `CAST(${parts[0]} AS TEXT)` : parts.join(" || ");
}

/** Whether the model's primary key names the field. */
export function keyed(model: Model, field: Field): boolean {
  return model.keyFields.includes(field.name);
}
