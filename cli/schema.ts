/**
 * `mod.ts schema`: explains a schema file, compares two, shows the SQLite tables that a device creates from it, prints
 * it as one JSON file (for a compiled agent, which can't load TypeScript), or proposes a first one.
 *
 * @module
 */
import { schemaSql } from "../agent/migration/migrate.ts";
import { validateSql } from "../agent/store/triggers.ts";
import { type Difference, diffSchemas, isHarmful } from "../schema/diff.ts";
import { explain, explainText } from "../schema/explain.ts";
import { checkId, type Schema, SchemaError } from "../schema.ts";
import { UsageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { loadSchemaFile } from "./schema_file.ts";
import { initialSchema, writeNew } from "./schema_init.ts";
import { planOnboarding } from "./schema_onboard.ts";
import { say } from "./terminal.ts";

const oneLine = (text: string) => text.replace(/[\s]+/g, " ");

function checkText(file: string, schema: Schema): string[] {
  return [
    `${file} is a valid schema: version ${schema.version}, fingerprint ${schema.fingerprint}`,
    ...explainText(explain(schema)),
    ...(schema.warnings.length > 0 ? [""] : []),
    ...schema.warnings.map((warning) => `note: ${oneLine(warning)}`),
    ...uncheckedNotes(schema),
  ];
}

/** Fields whose `validate` no trigger on the device can express: only the cloud refuses a forbidden local write. */
function uncheckedNotes(schema: Schema): string[] {
  return [...schema.models.values()].filter((model) => model.onDevice && model.sync !== "down").flatMap((model) =>
    model.fields.filter((field) => field.validate && validateSql(field, "v") === undefined).map(({ name, validate }) =>
      `note: ${model.name}.${name}: SQLite can't express /${
        oneLine(validate!.source)
      }/; the device accepts any value, and the cloud ` +
      "refuses what does not match"
    )
  );
}

const gravities: Readonly<Record<Difference["gravity"], string>> = {
  refused: "REFUSED",
  lost: "LOST",
  rows: "depends on the rows",
  wait: "waits",
  note: "fine",
};

function diffText(differences: readonly Difference[]): string[] {
  if (differences.length === 0) return ["the schemas mean the same"];
  const lines = differences.map(({ gravity, model, text }) =>
    `${gravities[gravity].padEnd(19)}  ${model === undefined ? "" : `${model}: `}${oneLine(text)}`
  );
  const order =
    "Cloud first is the usual order; waiting changes continue by themselves when both sides have the new schema.";
  return [...lines, "", isHarmful(differences) ? "Something is lost or refused: see above." : order];
}

/** Loads a schema; prints its problems one a line, and returns undefined. */
async function checked(file: string, strict: boolean): Promise<Schema | undefined> {
  try {
    return await loadSchemaFile(file, { strict });
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    for (const problem of error.problems) say(`${file}: ${oneLine(problem)}`);
    return undefined;
  }
}

/** The `schema` command. */
export const schemaCommand = defineCommand({
  name: "schema",
  summary: "explain, check, compare or begin a schema",
  usage: [
    "check FILE [--strict] [--json]",
    "diff OLD NEW [--json]",
    "sql FILE [--device ID] [--account ID]",
    "json FILE",
    "init [FILE] [--db FILE | --table dynamodb://TABLE]",
    "onboard --db FILE --schema FILE [--device ID] [--account ID]",
  ],
  about: [
    "check names every problem, or says of each model where it is, which way it travels, who sees it, and what it costs.",
    "diff says what a roll-out of NEW over OLD does, in both orders; exit code 1 if something is lost or refused.",
    "sql prints the SQL of a device's database; json prints the schema as one file.",
    "init writes a first schema, or proposes one for the tables of an SQLite database or the items of a DynamoDB table.",
    "onboard says table by table what an agent's first start would do to a database; it tries a copy. Exit code 1: refused.",
  ],
  flags: {
    device: {
      type: "string",
      value: "ID",
      summary: "sql, onboard: the device, whose id is a default value",
      default: "demo-1",
    },
    account: { type: "string", value: "ID", summary: "sql, onboard: its account", default: "demo" },
    strict: { type: "boolean", summary: "check: refuse settings without effect, too" },
    json: { type: "boolean", summary: "check, diff: as JSON" },
    db: { type: "string", value: "FILE", summary: "init, onboard: an SQLite database" },
    schema: { type: "string", value: "FILE", summary: "onboard: the schema" },
    table: { type: "string", value: "URL", summary: "init: a DynamoDB table to propose from" },
    "type-field": { type: "string", value: "NAME", summary: "init --table: the attribute that names an item's type" },
  },
  operands: [1, 3],
  async run({ flags, operands, print }) {
    const [action, file, other] = operands as [string, string | undefined, string | undefined];
    const wanted: Readonly<Record<string, readonly [number, number]>> = {
      check: [2, 2],
      diff: [3, 3],
      sql: [2, 2],
      json: [2, 2],
      init: [1, 2],
      onboard: [1, 1],
    };
    const count = Object.hasOwn(wanted, action) ? wanted[action] : undefined;
    if (!count) throw new UsageError(`schema ${action}? check, diff, sql, json, init or onboard`);
    if (operands.length < count[0] || operands.length > count[1]) {
      throw new UsageError(
        `schema ${action} takes ${
          action === "diff"
            ? "two files"
            : action === "init"
            ? "one file at most"
            : action === "onboard"
            ? "flags alone"
            : "one file"
        }`,
      );
    }
    if (action === "init") {
      if (flags.db !== undefined && flags.table !== undefined) throw new UsageError("--db and --table: one of them");
      const text = await initialSchema({ db: flags.db, table: flags.table, typeField: flags["type-field"] });
      if (file === undefined) print(text.trimEnd());
      else writeNew(file, text);
      return 0;
    }
    if (action === "diff") {
      const [old, next] = [await loadSchemaFile(file!), await loadSchemaFile(other!)];
      const differences = diffSchemas(old, next);
      if (flags.json) print(JSON.stringify({ harmful: isHarmful(differences), differences }, null, 2));
      else diffText(differences).forEach(print);
      return isHarmful(differences) ? 1 : 0;
    }
    if (action === "onboard") {
      if (flags.db === undefined) throw new UsageError("--db FILE is missing");
      checkId("device", flags.device);
      checkId("account", flags.account);
      const identity = { deviceId: flags.device, accountId: flags.account };
      const plan = await planOnboarding(flags.db, await loadSchemaFile(flags.schema), identity);
      plan.lines.forEach(print);
      return plan.refused ? 1 : 0;
    }
    const schema = action === "check" ? await checked(file!, flags.strict) : await loadSchemaFile(file!);
    if (!schema) return 1;
    if (action === "json") print(JSON.stringify(schema.source, null, 2));
    if (action === "sql") {
      checkId("device", flags.device);
      checkId("account", flags.account);
      print(schemaSql(schema, { deviceId: flags.device, accountId: flags.account }).trimEnd());
    }
    if (action === "check" && flags.json) {
      const { version, fingerprint, warnings } = schema;
      print(JSON.stringify({ version, fingerprint, models: explain(schema), warnings }, null, 2));
    } else if (action === "check") checkText(file!, schema).forEach(print);
    return 0;
  },
});
