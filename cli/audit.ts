/**
 * `mod.ts audit`: who did what to a cloud, through its API, the console and the command line, from its log table.
 *
 * @module
 */
import { join } from "node:path";
import { Audit, type AuditRecord, auditTime } from "../cloud/operations/audit.ts";
import { schema as exampleSchema } from "../examples/schema.ts";
import { compileSchema } from "../schema.ts";
import { UsageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { durationOf } from "./duration.ts";
import { loadSchemaFile } from "./schema_file.ts";
import { openTables } from "./tables.ts";

const pageEntries = 500;

/** A time, or how long ago: `24h`. */
function timeOf(flag: string, text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+(ms|[smhd])$/.test(text)) return now - durationOf(flag, text)!;
  const ms = auditTime(text);
  if (ms !== undefined) return ms;
  throw new UsageError(`--${flag} ${text} is not a time: 2026-03-01T12:00:00Z or 24h is`);
}

function lineOf({ time, who, via, action, target, outcome }: AuditRecord): string {
  const failed = outcome === undefined ? [] : [`failed: ${outcome}`];
  return [time, `${who} (${via})`, action, ...(target === undefined ? [] : [target]), ...failed].join("  ");
}

/** The `audit` command. */
export const auditCommand = defineCommand({
  name: "audit",
  summary: "who did what through the API and the command line",
  usage: ["[--from TIME] [--to TIME] [--who NAME] [--json] [--table URL]"],
  about: [
    "One line an entry, in the order of their times: when, who (a token's name, or user@host), through what, the action and\n" +
    "what it was done to. Without --from: the last 24 hours. Without --table: the cloud of dev.",
  ],
  flags: {
    from: {
      type: "string",
      value: "TIME",
      summary: "2026-03-01, 2026-03-01T12:00:00Z, or how long ago",
      default: "24h",
    },
    to: { type: "string", value: "TIME", summary: "the same; default now" },
    who: { type: "string", value: "NAME", summary: "only what this one did" },
    json: { type: "boolean", summary: "a JSON object a line" },
    table: { type: "string", value: "URL", summary: "embedded:PATH or dynamodb://TABLE?…; default DIR/cloud.db" },
    dir: { type: "string", value: "DIR", summary: "the folder of dev", default: ".twintable" },
    schema: { type: "string", value: "FILE", summary: "the cloud's schema; default the example's" },
  },
  operands: [0, 0],
  async run({ flags, print }) {
    const now = Date.now();
    const fromMs = timeOf("from", flags.from, now), toMs = timeOf("to", flags.to, now);
    const schema = flags.schema === undefined ? compileSchema(exampleSchema) : await loadSchemaFile(flags.schema);
    const url = flags.table ?? `embedded:${join(flags.dir, "cloud.db")}`;
    const tables = await openTables(url, { schema, shared: true, existing: true });
    try {
      const audit = new Audit(tables.log, { now: Date.now });
      let after: string | undefined, count = 0;
      do {
        const page = await audit.list({ fromMs, toMs, who: flags.who, after, limit: pageEntries });
        for (const entry of page.entries) print(flags.json ? JSON.stringify(entry) : lineOf(entry));
        count += page.entries.length;
        after = page.next;
      } while (after !== undefined);
      if (count === 0 && !flags.json) print("nothing was done in that time");
      return 0;
    } finally {
      await tables.close();
    }
  },
});
