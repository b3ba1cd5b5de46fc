/**
 * The two lines that `dev` prints for a newcomer to paste: one `sqlite3` insert on the device, one `curl` on the cloud.
 * For the user's own schema, they use the model that needs the fewest values.
 *
 * @module
 */
import { goesUp } from "../schema/direction.ts";
import { type Field, type Identity, idIn, type Model, roleOf, type Schema } from "../schema.ts";
import { Pattern } from "../schema/pattern/pattern.ts";

/** A value that both lines can write. */
type Sample = string | number | boolean | readonly Sample[] | { readonly [name: string]: Sample };
type Values = { readonly [name: string]: Sample };

/** The content of a line: a model and values for some of its attributes. */
export interface Example {
  readonly model: string;
  readonly values: Values;
}

/** Words that SQLite does not accept as a name without quotes. */
const reserved = new Set(
  ("ADD ALL ALTER AND AS AUTOINCREMENT BETWEEN CASE CHECK COLLATE COMMIT CONSTRAINT CREATE DEFAULT DEFERRABLE DELETE " +
    "DISTINCT DROP ELSE ESCAPE EXISTS FOREIGN FROM GROUP HAVING IN INDEX INSERT INTO IS ISNULL JOIN LIMIT NOT NOTNULL " +
    "NULL ON OR ORDER PRIMARY REFERENCES RETURNING SELECT SET TABLE THEN TO TRANSACTION UNION UNIQUE UPDATE USING VALUES " +
    "WHEN WHERE").split(" "),
);

function sqlName(name: string): string {
  return reserved.has(name.toUpperCase()) ? `[${name}]` : name;
}

function sqlValue(value: Sample): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "boolean") return value ? "1" : "0";
  return `'${(typeof value === "string" ? value : JSON.stringify(value)).replaceAll("'", "''")}'`;
}

/** A text as one word of a POSIX shell: plain, in double quotes if it has single ones, otherwise in single quotes. */
export function shellWord(text: string): string {
  if (/^[\w./:@%+=,-]+$/.test(text)) return text;
  if (text.includes("'")) return `"${text.replace(/["$`\\]/g, "\\$&")}"`;
  return `'${text}'`;
}

/** Fields that a writer must supply: those without another source of a value. */
function needed(model: Model): Field[] {
  return model.fields.filter((field) =>
    (field.required || model.keyFields.includes(field.name)) && !field.template && field.default === undefined &&
    !field.generate && !field.timestamp && roleOf(model, field.name) === undefined
  );
}

/** A valid value for a field; undefined if its rules can't be met by guessing. */
function sample(field: Field): Sample | undefined {
  if (field.enum) return field.enum[0];
  switch (field.type) {
    case "string": {
      const { validate } = field;
      if (!validate) return "hello";
      const pattern = new Pattern(validate.source, validate.flags);
      return ["hello", "Hello", "1", "a@example.com", "2026-01-01"].find((text) => pattern.test(text));
    }
    case "number":
      return 1;
    case "boolean":
      return true;
    case "date":
      return "2026-01-01T00:00:00.000Z";
    case "array":
      return [];
    case "set":
      return field.members === "number" ? [1] : field.members === "string" ? ["a"] : undefined;
    case "object":
      return sampleOf((field.nested ?? []).filter((inner) => inner.required && inner.default === undefined));
    case "binary":
      return undefined;
  }
}

function sampleOf(fields: readonly Field[]): Values | undefined {
  const values: Record<string, Sample> = {};
  for (const field of fields) {
    const value = sample(field);
    if (value === undefined) return undefined;
    values[field.name] = value;
  }
  return values;
}

/** The model that needs the fewest values, with values; undefined if there is none. */
function simplest(models: readonly Model[]): Example | undefined {
  const examples = models.flatMap((model) => {
    const values = sampleOf(needed(model));
    return values ? [{ model: model.name, values }] : [];
  });
  return examples.sort((a, b) => Object.keys(a.values).length - Object.keys(b.values).length)[0];
}

/** An example of a write on the device: a model whose items go up. */
export function deviceExample(schema: Schema): Example | undefined {
  return simplest(
    [...schema.models.values()].filter((model) => model.onDevice && goesUp(model)),
  );
}

/** An example of a write in the cloud: a model whose items go down, preferring those that go only down. */
export function cloudExample(schema: Schema): Example | undefined {
  const models = [...schema.models.values()].filter((model) => model.onDevice);
  return simplest(models.filter((model) => model.sync === "down")) ??
    simplest(models.filter((model) => model.sync === "both"));
}

/** `sqlite3 FILE "INSERT …"`, with a wait for the agent's own writes: the shell by itself gives up at once. */
export function sqliteLine(path: string, { model, values }: Example): string {
  const names = Object.keys(values);
  const row = names.length === 0
    ? "DEFAULT VALUES"
    : `(${names.map(sqlName).join(", ")}) VALUES (${Object.values(values).map(sqlValue).join(", ")})`;
  const insert = `INSERT INTO ${sqlName(model)}${names.length ? "" : " "}${row}`;
  return `sqlite3 -cmd ".timeout 5000" ${shellWord(path)} ${shellWord(insert)}`;
}

/** `curl -X PUT …` of an item for this device, or of the shared scope that the model has. */
export function curlLine(url: string, schema: Schema, { model, values }: Example, identity: Identity): string {
  const compiled = schema.models.get(model)!;
  const own = Object.fromEntries(compiled.identityFields.map((name) => [name, idIn(compiled, identity, name)]));
  const body = JSON.stringify({ model, item: { ...own, ...values } });
  return `curl -X PUT ${url}/api/items -H 'content-type: application/json' -d ${shellWord(body)}`;
}
