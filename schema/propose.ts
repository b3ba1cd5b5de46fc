/**
 * A first schema, as text with comments: a small one to start with, or a proposal from existing data: the tables of an
 * SQLite database, or items of a DynamoDB table. A proposal compiles; what it can't know (who owns an item, which way
 * it travels) it says in a comment.
 *
 * @module
 */
import type { FieldType, Index } from "./model.ts";
import { isName } from "./names.ts";
import { isMap, type Item, type Json, tagOf } from "./values.ts";

/** A column as `PRAGMA table_info` tells it. */
export interface ProposedColumn {
  readonly name: string;
  readonly type: string;
  readonly notNull: boolean;
  /** The SQL of its default. */
  readonly preset?: string;
  /** 1, 2, … for the columns of the primary key, else 0. */
  readonly key: number;
  /** The table whose rows it names, by a foreign key. */
  readonly refers?: string;
  /** For a date: whether it has texts without a zone, or numbers. */
  readonly unclear?: { readonly zone: boolean; readonly unit: boolean };
}

/** A table of an existing database. */
export interface ProposedTable {
  readonly name: string;
  readonly columns: readonly ProposedColumn[];
}

/** A proposed field: what is behind its name, and a comment. */
interface Line {
  readonly name: string;
  readonly field: Readonly<Record<string, unknown>>;
  readonly note?: string;
}
interface Proposal {
  readonly name: string;
  readonly lines: readonly Line[];
  readonly sync: string;
  readonly note: string;
  /** The comment after its entry in `process`. */
  readonly processNote?: string;
}

/** A schema to begin with. */
export function firstSchema(): string {
  return schemaText(
    { primary: { hash: "pk", sort: "sk" } },
    [
      {
        name: "Reading",
        note: "What the device measures. It only travels up; each device has its own.",
        sync: "up",
        lines: [
          { name: "pk", field: { type: "string", value: "device#${deviceId}" } },
          { name: "sk", field: { type: "string", value: "reading#${id}" } },
          {
            name: "deviceId",
            field: { type: "string", required: true },
            note: "in the key: the item is this device's",
          },
          { name: "id", field: { type: "string", generate: "ulid" }, note: "made where an INSERT leaves it out" },
          { name: "value", field: { type: "number", required: true } },
        ],
      },
      {
        name: "Setting",
        note: "What both sides may change. The later change wins.",
        sync: "both",
        lines: [
          { name: "pk", field: { type: "string", value: "device#${deviceId}" } },
          { name: "sk", field: { type: "string", value: "setting#${name}" } },
          { name: "deviceId", field: { type: "string", required: true } },
          { name: "name", field: { type: "string", required: true } },
          { name: "value", field: { type: "string" } },
        ],
      },
    ],
  );
}

/**
 * A proposal for the tables of an SQLite database. Names that cannot be a model's or a field's are left out, with a
 * note.
 */
export function proposeFromTables(tables: readonly ProposedTable[]): string {
  const counting = new Set(tables.filter(({ columns }) => counterOf(columns)).map(({ name }) => name.toLowerCase()));
  return schemaText(
    { primary: { hash: "pk", sort: "sk" } },
    tables.flatMap((table) => proposeTable(table, counting) ?? []),
  );
}

/** The column that SQLite numbers if an INSERT omits it: a key that is an INTEGER PRIMARY KEY. */
function counterOf(columns: readonly ProposedColumn[]): ProposedColumn | undefined {
  const keys = columns.filter(({ key }) => key > 0);
  return keys.length === 1 && /^integer$/i.test(keys[0]!.type) ? keys[0] : undefined;
}

function proposeTable({ name, columns }: ProposedTable, counting: ReadonlySet<string>): Proposal | undefined {
  const usable = columns.filter((column) => isName(column.name) && column.name.toLowerCase() !== "_id");
  if (!isName(name) || usable.length === 0) return undefined;
  const left = columns.filter((column) => !usable.includes(column) && column.name.toLowerCase() !== "_id");
  const keys = usable.filter(({ key }) => key > 0).sort((a, b) => a.key - b.key);
  const counts = counterOf(usable) !== undefined;
  const named = keys.length === 0 || counts ? [] : keys.map((column) => column.name);
  const id = usable.some((column) => column.name === "id") && named.length === 0 && !counts ? "uid" : "id";
  const parts = named.length > 0 ? named.map((key) => `\${${key}}`).join("#") : `\${${counts ? keys[0]!.name : id}}`;
  const taken = new Set(["pk", "sk", "deviceId"]);
  const lines: Line[] = [
    { name: "pk", field: { type: "string", value: "device#${deviceId}" }, note: "each device its own rows" },
    { name: "sk", field: { type: "string", value: `${name.toLowerCase()}#${parts}` } },
    { name: "deviceId", field: { type: "string", required: true } },
  ];
  if (named.length === 0 && !counts) {
    lines.push({ name: id, field: { type: "string", generate: "ulid" }, note: "the table has no key of its own" });
    taken.add(id);
  }
  for (const column of usable) {
    if (taken.has(column.name)) continue;
    lines.push(proposeColumn(column, counts && column === keys[0], counting));
  }
  const skipped = left.length === 0
    ? ""
    : ` Left out, for their names: ${left.map((c) => JSON.stringify(c.name)).join(", ")}.`;
  const processNote = dateNote(usable.filter(({ type }) => columnFieldType(type) === "date"));
  return {
    name,
    lines,
    sync: "both",
    note: `The table ${JSON.stringify(name)}.${skipped}`,
    ...(processNote === undefined ? {} : { processNote }),
  };
}

function proposeColumn(column: ProposedColumn, counts: boolean, counting: ReadonlySet<string>): Line {
  const { name } = column;
  // Two devices would assign the same numbers, and an application that inserts without an id must continue to work.
  if (counts) {
    return {
      name,
      field: { type: "string", generate: "ulid" },
      note: "a counter: rows that are there keep its digits, new ones get an id that no other device has",
    };
  }
  const names = column.refers !== undefined && counting.has(column.refers.toLowerCase());
  const type = names ? "string" : columnFieldType(column.type);
  const preset = column.preset === undefined ? undefined : presetOf(type, column.preset);
  const isRequired = (column.notNull || column.key > 0) && column.preset === undefined;
  const note = names
    ? `a row of ${column.refers}: write the id that INSERT … RETURNING gives`
    : column.preset !== undefined && preset === undefined
    ? `its default was ${column.preset}: say it otherwise, if it is wanted`
    : undefined;
  return {
    name,
    field: {
      type,
      ...(type === "date" ? { isoDates: true } : {}),
      ...(isRequired ? { required: true } : {}),
      ...(preset === undefined ? {} : { default: preset }),
    },
    ...(note === undefined ? {} : { note: note.replace(/\s+/g, " ") }),
  };
}

const nowPattern =
  /^\(*\s*(current_timestamp|(datetime|strftime|julianday)\s*\(.*'now'.*\)|unixepoch\s*\(.*\))\s*\)*$/i;

/** A column's default as a field's; undefined if a schema can't say it, or NULL. */
function presetOf(type: FieldType, sql: string): Json | undefined {
  if (type === "date") return nowPattern.test(sql) ? { $function: "() => new Date()" } : undefined;
  const text = /^'((?:[^']|'')*)'$/.exec(sql)?.[1]?.replaceAll("''", "'");
  if (type === "string") return text;
  if (type === "number") return /^-?\d{1,15}(\.\d{1,15})?$/.test(sql) ? Number(sql) : undefined;
  if (type === "boolean") return /^(0|1|true|false)$/i.test(sql) ? /^(1|true)$/i.test(sql) : undefined;
  return undefined;
}

/** A comment that asks the owner how to read dates: rows with such dates cannot be onboarded without a rule. */
function dateNote(columns: readonly ProposedColumn[]): string | undefined {
  const rules = columns.flatMap(({ name, unclear }) => {
    if (!unclear?.zone && !unclear?.unit) return [];
    return [
      `${name}: {${[...(unclear.zone ? [' zone: "UTC"'] : []), ...(unclear.unit ? [' unit: "s"'] : [])].join(",")} }`,
    ];
  });
  if (rules.length === 0) return undefined;
  return `dates: { ${
    rules.join(", ")
  } } says how rows that are there are read: put it in, with the right zone and unit`;
}

/** From the declared type, as people write it: SQLite itself would accept anything. */
function columnFieldType(declared: string): FieldType {
  const type = declared.toLowerCase();
  if (/json/.test(type)) return "object";
  if (/bool/.test(type)) return "boolean";
  if (/date|time/.test(type)) return "date";
  if (/int|real|floa|doub|num|dec/.test(type)) return "number";
  return /blob|binary/.test(type) ? "binary" : "string";
}

/** A proposal from items, grouped by the attribute that names their type. */
export function proposeFromItems(
  items: readonly Item[],
  indexes: Readonly<Record<string, Pick<Index, "hash" | "sort">>>,
  typeField = "_type",
): string {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const type = item[typeField];
    const name = typeof type === "string" && isName(type) ? type : "Item";
    groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  const keys = new Set(Object.values(indexes).flatMap(({ hash, sort }) => sort === undefined ? [hash] : [hash, sort]));
  const models = [...groups].map(([name, group]) => proposeItems(name, group, keys, typeField));
  const rest = typeField === "_type" ? {} : { params: { typeField } };
  return schemaText(indexes, models, rest);
}

function proposeItems(name: string, items: readonly Item[], keys: ReadonlySet<string>, typeField: string): Proposal {
  const attributes = new Map<string, Json[]>();
  for (const item of items) {
    for (const [attribute, value] of Object.entries(item)) {
      if (attribute === typeField || attribute.startsWith("_") || !isName(attribute)) continue;
      attributes.set(attribute, [...(attributes.get(attribute) ?? []), value]);
    }
  }
  const computed: Line[] = [], plain: Line[] = [];
  // A table returns an item's attributes in no order; here, keys come in the order of their indexes, the others by
  // name.
  const order = [...keys, ...[...attributes.keys()].filter((name) => !keys.has(name)).sort()];
  for (const attribute of order) {
    const values = attributes.get(attribute);
    if (!values) continue;
    if (keys.has(attribute)) {
      const value = templateOf(attribute, items, keys);
      computed.push(
        value === undefined
          ? { name: attribute, field: { type: "string", required: true }, note: "no template was found that makes it" }
          : { name: attribute, field: { type: "string", value } },
      );
      continue;
    }
    const type = typeOfValues(attribute, values);
    const isRequired = values.length === items.length;
    plain.push({ name: attribute, field: { ...type, ...(isRequired ? { required: true } : {}) } });
  }
  return {
    name,
    lines: [...computed, ...plain],
    sync: "none",
    note: `From ${items.length} items. "none" until you say which way it travels: up, down or both.`,
  };
}

/** The template that makes a key attribute of every item, from values of other attributes between separators. */
function templateOf(attribute: string, items: readonly Item[], keys: ReadonlySet<string>): string | undefined {
  const [first] = items;
  const text = first?.[attribute];
  if (typeof text !== "string") return undefined;
  const pieces = text.split(/([#|/:])/);
  const names = Object.keys(first!).filter((name) => !keys.has(name) && !name.startsWith("_") && isName(name));
  const template = pieces.map((piece) => {
    const named = piece === "" ? undefined : names.find((name) => asText(first![name]) === piece);
    return named === undefined ? piece : `\${${named}}`;
  });
  const rendered = (item: Item) =>
    template.map((part) => part.startsWith("${") ? asText(item[part.slice(2, -1)]) ?? "\0" : part).join("");
  return items.every((item) => item[attribute] === rendered(item)) ? template.join("") : undefined;
}

function asText(value: Json | undefined): string | undefined {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : undefined;
}

const isoDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

function typeOfValues(attribute: string, values: readonly Json[]): Readonly<Record<string, unknown>> {
  const kinds = new Set(values.filter((value) => value !== null).map(kindOf));
  if (kinds.size !== 1) return { type: kinds.size === 0 ? "string" : "object" };
  const [kind] = kinds;
  if (kind === "string" && values.every((value) => typeof value === "string" && isoDate.test(value))) {
    return { type: "date", isoDates: true };
  }
  if (kind === "number" && /^(ttl|expires?|expiry|expiresAt)$/i.test(attribute)) return { type: "number", ttl: true };
  return { type: kind };
}

function kindOf(value: Json): string {
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "number") return typeof value;
  if (Array.isArray(value)) return "array";
  const tag = isMap(value) ? tagOf(value) : undefined;
  return tag === "$n" ? "number" : tag === "$b" ? "binary" : tag === undefined || tag === "$m" ? "object" : "set";
}

function schemaText(
  indexes: Readonly<Record<string, Pick<Index, "hash" | "sort">>>,
  models: readonly Proposal[],
  rest: Readonly<Record<string, unknown>> = {},
): string {
  const json = (value: unknown) => JSON.stringify(value);
  const lines = [
    "// A OneTable schema: what the models are, where they exist, which way they are synced. Check it with `schema check`.",
    "{",
    '  format: "onetable:1.1.0",',
    '  version: "0.0.1",',
    `  indexes: ${json(indexes)},`,
    ...Object.entries(rest).map(([name, value]) => `  ${name}: ${json(value)},`),
    "  models: {",
  ];
  for (const { name, note, lines: fields } of models) {
    lines.push(`    // ${note.replace(/\s+/g, " ")}`, `    ${name}: {`);
    for (const { name: field, field: value, note: why } of fields) {
      lines.push(`      ${field}: ${json(value)},${why ? ` // ${why}` : ""}`);
    }
    lines.push("    },");
  }
  lines.push("  },", "  // up: device to cloud; down: cloud to device; both; none (the default).", "  process: {");
  for (const { name, sync, processNote } of models) {
    lines.push(`    ${name}: { sync: ${json(sync)} },${processNote === undefined ? "" : ` // ${processNote}`}`);
  }
  lines.push("  },", "}");
  return lines.join("\n") + "\n";
}
