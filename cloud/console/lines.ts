/**
 * The act of a click, as a line to paste: SQL on the device; `curl`, the AWS CLI and TypeScript in the cloud. Texts of
 * items go into a shell: each is quoted so that it stays one word, whatever it contains.
 *
 * @module
 */
import type { Field, Model } from "../../schema/model.ts";
import { base64ToBytes, bytesToBase64, completeItem, fieldOf, fromPlain, idIn, SyncError } from "../../schema.ts";
import type { Identity } from "../../schema/model.ts";
import type { ItemsContext } from "../api/items.ts";
import { protoAlias, toAttributeValues } from "../dynamodb/attribute_value.ts";
import type { PlainItem } from "./local_device.ts";

/** A text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  if (/^[\w./:@%+=,-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A shell word in double quotes, for SQL with its own single ones. */
function doubleQuoted(text: string): string {
  return `"${text.replace(/["$`\\]/g, "\\$&")}"`;
}

function sqlName(name: string): string {
  return /^[a-z_]\w*$/i.test(name) && !reserved.has(name.toUpperCase()) ? name : `"${name.replaceAll('"', '""')}"`;
}

const reserved: ReadonlySet<string> = new Set(
  ("ADD ALL ALTER AND AS AUTOINCREMENT BETWEEN CASE CHECK COLLATE COMMIT CONSTRAINT CREATE DEFAULT DEFERRABLE DELETE " +
    "DISTINCT DROP ELSE ESCAPE EXISTS FOREIGN FROM GROUP HAVING IN INDEX INSERT INTO IS ISNULL JOIN LIMIT NOT NOTNULL " +
    "NULL ON OR ORDER PRIMARY REFERENCES RETURNING SELECT SET TABLE THEN TO TRANSACTION UNION UNIQUE UPDATE USING VALUES " +
    "WHEN WHERE").split(" "),
);

/** A value as SQL, by the field's type. */
function sqlValue(field: Field | undefined, value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "number") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (field?.type === "binary") {
    const bytes = base64ToBytes(text);
    if (bytes) return `x'${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}'`;
  }
  if (field?.type === "date" && !field.isoDates && !Number.isNaN(Date.parse(text))) return String(Date.parse(text));
  // A number that a double can't hold comes as text: SQLite would round it, unless it has 64 bits, and keeps it as text.
  if (field?.type === "number" && /^-?\d{1,19}$/.test(text) && BigInt(text) === BigInt.asIntN(64, BigInt(text))) {
    return text;
  }
  if (text.includes("\0")) throw new TypeError("a text with a NUL can't stand in SQL");
  return `'${text.replaceAll("'", "''")}'`;
}

/** One value that is written. */
export interface Edit {
  readonly model: Model;
  readonly item: PlainItem;
  readonly field: string;
  readonly value: unknown;
}

/** `UPDATE Setting SET value = 85 WHERE name = 'memory'`. */
export function updateSql({ model, item, field, value }: Edit): string {
  const where = model.keyFields.map((name) => `${sqlName(name)} = ${sqlValue(fieldOf(model, name), item[name])}`);
  const set = `${sqlName(field)} = ${sqlValue(fieldOf(model, field), value)}`;
  return `UPDATE ${sqlName(model.name)} SET ${set}${where.length > 0 ? ` WHERE ${where.join(" AND ")}` : ""}`;
}

/** `INSERT INTO Setting (name, value) VALUES ('volume', 7)`. */
export function insertSql(model: Model, item: PlainItem): string {
  const names = Object.keys(item);
  if (names.length === 0) return `INSERT INTO ${sqlName(model.name)} DEFAULT VALUES`;
  const values = names.map((name) => sqlValue(fieldOf(model, name), item[name]));
  return `INSERT INTO ${sqlName(model.name)}(${names.map(sqlName).join(", ")}) VALUES (${values.join(", ")})`;
}

/** An item as the device's table takes it, whether or not it has it: `INSERT … ON CONFLICT DO UPDATE SET …`. */
export function upsertSql(model: Model, item: PlainItem): string {
  const own = Object.fromEntries(Object.entries(item).filter(([name]) => !model.identityFields.includes(name)));
  const set = Object.keys(own).filter((name) => !model.keyFields.includes(name)).map(sqlName);
  const update = set.length === 0
    ? "NOTHING"
    : `UPDATE SET ${set.map((name) => `${name} = excluded.${name}`).join(", ")}`;
  return `${insertSql(model, own)} ON CONFLICT DO ${update}`;
}

/** `sqlite3 FILE "…"`, which waits for the agent's own writes. */
export function sqliteLine(path: string, sql: string): string {
  return `sqlite3 -cmd ".timeout 5000" ${shellWord(path)} ${doubleQuoted(sql)}`;
}

/** The cloud's address, and whether it requires a token. */
export interface CloudAddress {
  readonly url: string;
  readonly wantsToken: boolean;
}

/** `curl -X PUT …`, of one item or of several. */
export function curlLine({ url, wantsToken }: CloudAddress, model: string, ...items: readonly PlainItem[]): string {
  const auth = wantsToken ? ` -H "authorization: Bearer $TWINTABLE_TOKEN"` : "";
  return `curl -X PUT ${url}/api/items${auth} --json ${shellWord(JSON.stringify(bodyOf(model, items)))}`;
}

function bodyOf(model: string, items: readonly PlainItem[]): object {
  return items.length === 1 ? { model, item: items[0] } : { model, items };
}

/** The same by `fetch`. */
export function typescriptLine(
  { url, wantsToken }: CloudAddress,
  model: string,
  ...items: readonly PlainItem[]
): string {
  const auth = wantsToken ? `, authorization: \`Bearer \${process.env.TWINTABLE_TOKEN}\`` : "";
  return `await fetch(${JSON.stringify(`${url}/api/items`)}, {
  method: "PUT",
  headers: { "content-type": "application/json"${auth} },
  body: JSON.stringify(${JSON.stringify(bodyOf(model, items))}),
});`;
}

/** A table of DynamoDB. */
export interface DynamoName {
  readonly table: string;
  readonly region?: string;
  readonly endpoint?: string;
}

/** `aws dynamodb put-item …`: the complete item, as an application without Twintable writes it. */
export function awsLine(
  { table, region, endpoint }: DynamoName,
  { schema, now, random }: Pick<ItemsContext, "schema" | "now" | "random">,
  model: Model,
  item: PlainItem,
): string {
  const place = [
    ...(region === undefined ? [] : ["--region", region]),
    ...(endpoint === undefined ? [] : ["--endpoint-url", endpoint]),
  ].map((word) => ` ${shellWord(word)}`).join("");
  let values: string;
  try {
    const stored = completeItem(schema, model, fromPlain(schema, model, item, { now: now(), random }));
    values = JSON.stringify(toAttributeValues(stored), bytesAsText).replaceAll(protoAlias, "__proto__");
  } catch (error) {
    // What is typed so far makes no item: the line says so in its place.
    if (!(error instanceof SyncError) && !(error instanceof RangeError)) throw error;
    return `# ${error.message.replaceAll(/\s+/g, " ")}`;
  }
  return `aws dynamodb put-item --table-name ${shellWord(table)}${place} --item ${shellWord(values)}`;
}

function bytesAsText(_name: string, value: unknown): unknown {
  return value instanceof Uint8Array ? bytesToBase64(value) : value;
}

/** What identifies a device's items of a model: its own ids. */
export function ownIds(model: Model, identity: Identity): PlainItem {
  return Object.fromEntries(model.identityFields.map((name) => [name, idIn(model, identity, name)]));
}
