/**
 * `mod.ts schema`: checks a schema file, shows the SQLite tables that a device makes of it, or prints it as one JSON file
 * (for a device whose agent is a compiled binary, which can't load TypeScript).
 *
 * @module
 */
import { schemaSql } from "../agent/migration/migrate.ts";
import { checkId, type Schema, SchemaError } from "../schema.ts";
import { UsageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { loadSchemaFile } from "./schema_file.ts";

function describeModels(schema: Schema): string[] {
  const models = [...schema.models.values()];
  const width = Math.max(...models.map((model) => model.name.length));
  return models.map((model) => {
    const place = model.onDevice && model.inCloud ? "" : model.onDevice ? ", device only" : ", cloud only";
    const conflict = model.sync === "both" ? `, ${model.conflict} wins` : "";
    return `  ${model.name.padEnd(width)}  sync ${model.sync}, ${model.scope} scope${conflict}${place}`;
  });
}

/** The `schema` command. */
export const schemaCommand = defineCommand({
  name: "schema",
  summary: "check a schema, show its tables",
  usage: ["check FILE", "sql FILE [--device ID] [--account ID]", "json FILE"],
  about: [
    "check names every problem; sql prints what a device's database is made of; json prints the schema as one file.",
  ],
  flags: {
    device: { type: "string", value: "ID", summary: "sql: the device, whose id is a default value", default: "demo-1" },
    account: { type: "string", value: "ID", summary: "sql: its account", default: "demo" },
  },
  operands: [2, 2],
  async run({ flags, operands, print }) {
    const [action, file] = operands as [string, string];
    if (!["check", "sql", "json"].includes(action)) throw new UsageError(`schema ${action}? check, sql or json`);
    let schema: Schema;
    try {
      schema = await loadSchemaFile(file);
    } catch (error) {
      if (action !== "check" || !(error instanceof SchemaError)) throw error;
      for (const problem of error.problems) {
        console.error(`${file}: ${problem.split("\n").map((line) => line.trim()).join(" ")}`);
      }
      return 1;
    }
    if (action === "json") print(JSON.stringify(schema.source, null, 2));
    if (action === "sql") {
      checkId("device", flags.device);
      checkId("account", flags.account);
      print(schemaSql(schema, { deviceId: flags.device, accountId: flags.account }).trimEnd());
    }
    if (action === "check") {
      print(`${file} is a valid schema: version ${schema.version}, fingerprint ${schema.fingerprint}`);
      describeModels(schema).forEach(print);
    }
    return 0;
  },
});
