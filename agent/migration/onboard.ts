/**
 * Onboards rows from before Twintable: a table with a model's name, in a file that is new to Twintable, is converted
 * with its rows. What cannot be converted is refused before anything is touched.
 *
 * @module
 */
import type { Database } from "../sqlite/driver.ts";
import { SyncError } from "../../schema/errors.ts";
import { idIn } from "../../schema/identity.ts";
import type { Identity, Model } from "../../schema/model.ts";
import { columnsOf } from "./rebuild.ts";
import { ident, nowMsSql } from "../store/sql.ts";
import { agentTableNames, applicationId, viewNames } from "../store/tables.ts";
import { outboxKinds } from "../store/triggers.ts";

function refused(message: string, hint: string, model?: Model): SyncError {
  return new SyncError("migration", message, {
    hint: `Nothing was changed. ${hint}`,
    ...(model === undefined ? {} : { model: model.name }),
  });
}

/**
 * Refuses a file whose texts are not UTF-8 (lengths and bytes of texts are those that DynamoDB counts), and a file that
 * is new to Twintable but uses the names of the agent's tables and views for other things.
 */
export function refuseOthers(db: Database): void {
  const { encoding } = db.prepare("PRAGMA encoding").get()!;
  if (encoding !== "UTF-8") {
    throw refused(
      `The file's texts are ${encoding}, not UTF-8`,
      "Make a new file of its dump: sqlite3 OLD .dump | sqlite3 NEW",
    );
  }
  // The agent's notes identify its file, not the mark in the header: an application may set one, and a dump has none.
  const isOwn = columnsOf(db, "_sync").includes("value") &&
    db.prepare("SELECT 1 FROM _sync WHERE name = 'format'").get() !== undefined;
  if (isOwn || db.prepare("PRAGMA application_id").get()!.application_id === applicationId) return;
  const own = new Set<string>([...agentTableNames, ...viewNames]);
  const found = db.prepare("SELECT type, name FROM sqlite_master WHERE name LIKE '\\_%' ESCAPE '\\'").all()
    .find(({ name }) => own.has(String(name).toLowerCase()));
  if (found) {
    throw refused(`The ${found.type} ${found.name} is not Twintable's, which needs that name`, "Rename it.");
  }
}

/** Refuses objects with a model's name that are not ordinary tables, and rows of another device or account. */
export function refuseForeign(db: Database, model: Model, identity: Identity, present: readonly string[]): void {
  const { type } = db.prepare("SELECT type FROM pragma_table_list(?) WHERE schema = 'main'").get(model.name)!;
  if (type !== "table") {
    throw refused(`${model.name} is a ${type === "view" ? "view" : "virtual table"}, not a table`, "Rename it.", model);
  }
  // A table of this device knows no other.
  for (const name of model.identityFields) {
    const column = present.find((c) => c.toLowerCase() === name.toLowerCase());
    if (!column) continue;
    const own = idIn(model, identity, name)!;
    const found = db.prepare(
      `SELECT ${ident(column)} AS id FROM ${ident(model.name)} WHERE ${ident(column)} IS NOT ? LIMIT 1`,
    ).get(own);
    if (!found) continue;
    throw refused(
      `${model.name} has rows of the ${name} "${found.id}", not "${own}"`,
      "Delete these rows, or give them this one's id, and start again.",
      model,
    );
  }
}

/**
 * Enqueues the rows of a table as updates: the cloud may already have them, so a later removal must be sent. The rows'
 * `updated` is their time, so that a newer item in the cloud wins over an older row. Without it, they count as made
 * now.
 */
export function onboard(db: Database, model: Model, number: number): void {
  db.exec(
    `INSERT INTO _outbox(model, row, kind, time, segment) SELECT ${number}, _id, ${outboxKinds.update}, ` +
      `${updatedMsSql(model).sql}, segment FROM ${ident(model.name)}, _sync_flag`,
  );
}

/**
 * When a row was last written, ms since 1970, as SQL, never in the future; `said`: the row's own time, if the model's
 * rows have one.
 */
export function updatedMsSql(model: Model): { readonly sql: string; readonly said?: string } {
  const field = model.fields.find((f) => f.name === model.updatedField && !f.template);
  if (!field) return { sql: nowMsSql };
  const column = ident(field.name);
  const said = field.isoDates ? `CAST((julianday(${column}) - 2440587.5) * 86400000 + 0.5 AS INTEGER)` : column;
  return { sql: `min(coalesce(${said}, ${nowMsSql}), ${nowMsSql})`, said };
}
