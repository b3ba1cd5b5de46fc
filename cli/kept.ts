/**
 * `mod.ts rejected` and `mod.ts conflicts`: shows the versions that a device's database stores for people, puts them
 * back, or drops them. Uses SQL on its own connection, with or without a running agent.
 *
 * @module
 */
import type { Driver } from "../agent/sqlite/driver.ts";
import { dropKept, type Kept, keptOf, type KeptTable, listKept, restoreKept, rowOfKept } from "../agent/store/kept.ts";
import { type Attributes, jsonEquals, SyncError } from "../schema.ts";
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { linkLines } from "./console_link.ts";
import { driverFlags, driverOf } from "./driver_flags.ts";
import { type OpenFile, openFile, withSchema } from "./open_file.ts";

const flags = {
  db: { type: "string", value: "FILE", summary: "the device's database", required: true },
  model: { type: "string", value: "MODEL", summary: "of this model only" },
  all: { type: "boolean", summary: "all of them, or all of --model" },
  after: { type: "integer", value: "N", summary: "list: after this number", default: 0, min: 0, max: 2 ** 52 },
  limit: { type: "integer", value: "N", summary: "list: the most to print", default: 100, min: 1, max: 100_000 },
  force: { type: "boolean", summary: "even if the row was written again since" },
  json: { type: "boolean", summary: "print JSON" },
  ...driverFlags,
} as const;

/** Longer values are cut in a list. */
const shownMax = 60;

/** The differences between the two commands. */
interface Kind {
  readonly table: KeptTable;
  readonly name: "rejected" | "conflicts";
  readonly summary: string;
  /** The action that puts a version back. */
  readonly back: string;
  readonly about: string;
}

function keptCommand({ table, name, summary, back, about }: Kind) {
  return defineCommand({
    name,
    summary,
    usage: [
      "list --db FILE [--model M] [--json]",
      "show N --db FILE [--json]",
      `${back} N|--all --db FILE [--model M] [--force]`,
      "drop N|--all --db FILE [--model M]",
    ],
    about: [about],
    flags,
    operands: [1, 2],
    async run({ flags, operands, print }) {
      const [action, number] = operands as [string, string | undefined];
      if (!["list", "show", back, "drop"].includes(action)) {
        throw new UsageError(`${name} ${action}? list, show, ${back} or drop`);
      }
      const id = number === undefined ? undefined : Number(number);
      if (id !== undefined && !(Number.isSafeInteger(id) && id > 0)) {
        throw new UsageError(`"${number}" is not a number`);
      }
      const several = flags.all || flags.model !== undefined;
      if (action === "list" ? id !== undefined : (id === undefined) === (action === "show" || !several)) {
        throw new UsageError(action === "list" ? `${name} list takes no number` : `${name} ${action} needs a number`);
      }
      if (id !== undefined && several) throw new UsageError("either a number, or --all or --model");
      const driver = await driverOf(flags);
      if (action === "list") {
        const list = withFile(flags.db, driver, ({ db }) => listKept(db, table, flags));
        if (flags.json) print(JSON.stringify(list, null, 2));
        else {
          for (const line of lines(list)) print(line);
          if (list.length > 0) (await linkLines(flags.db, driver, name)).forEach(print);
        }
        return 0;
      }
      return withFile(flags.db, driver, (file) => {
        if (action === "show") {
          const kept = keptOf(file.db, table, id!), { row, unknown } = rowNow(file, kept);
          if (flags.json) print(JSON.stringify({ ...kept, row, ...(unknown && { rowUnknown: unknown }) }, null, 2));
          else for (const line of detail(kept, row, unknown)) print(line);
          return 0;
        }
        if (action === "drop") {
          const dropped = dropKept(file.db, table, { id, model: flags.model });
          if (dropped === 0 && id !== undefined) throw new CommandError(`${table} has no number ${id}`);
          print(`dropped ${dropped}`);
          return 0;
        }
        const whole = withSchema(file);
        const ids = id === undefined ? numbers(file.db, table, flags.model) : [id];
        let failed = 0;
        for (const one of ids) {
          try {
            const { model, key, op } = restoreKept(whole, table, one, flags);
            print(`${one}: ${model} ${JSON.stringify(key)} is ${op === "remove" ? "removed" : "written"} again`);
          } catch (error) {
            // A version that does not fit holds up no other.
            if (ids.length === 1) throw error;
            failed++;
            print(`${one}: ${(error as Error).message}`);
          }
        }
        return failed > 0 ? 1 : 0;
      });
    },
  });
}

/** All present numbers: later ones are not included. */
function numbers(db: Parameters<typeof listKept>[0], table: KeptTable, model: string | undefined): number[] {
  const all: number[] = [];
  for (let page = listKept(db, table, { model }); page.length > 0;) {
    all.push(...page.map(({ id }) => id));
    page = listKept(db, table, { model, after: all.at(-1)! });
  }
  return all;
}

/** The present row; or why it can't be read. */
function rowNow(file: OpenFile, kept: Kept): { row: Attributes | null; unknown?: string } {
  try {
    return { row: rowOfKept(withSchema(file), kept) ?? null };
  } catch (error) {
    if (!(error instanceof SyncError || error instanceof CommandError)) throw error;
    return { row: null, unknown: error.message };
  }
}

function withFile<T>(path: string, driver: Driver, use: (file: OpenFile) => T): T {
  const file = openFile(path, driver);
  try {
    return use(file);
  } finally {
    file.db.close();
  }
}

function lines(list: readonly Kept[]): string[] {
  if (list.length === 0) return ["none"];
  return list.map(({ id, model, key, op, why, reason, at }) =>
    `${id}  ${at}  ${op} ${model} ${short(JSON.stringify(key))}: ${why}${reason ? `: ${short(reason)}` : ""}`
  );
}

function detail(kept: Kept, row: Attributes | null, unknown: string | undefined): string[] {
  const { id, model, key, op, why, reason, at, item } = kept;
  const names = [...new Set([...Object.keys(item ?? {}), ...Object.keys(row ?? {})])];
  const differing = names.filter((name) => !jsonEquals(item?.[name] ?? null, row?.[name] ?? null));
  return [
    `${id}  ${op} ${model} ${JSON.stringify(key)}`,
    `kept       ${at}, ${why}${reason ? `: ${reason}` : ""}`,
    `version    ${
      item ? JSON.stringify(item) : op === "remove" ? "a removal" : "none: the row was invalid by the schema"
    }`,
    `row now    ${row ? JSON.stringify(row) : unknown === undefined ? "none" : `not known: ${unknown}`}`,
    ...(item && row ? [`differs in ${differing.length > 0 ? differing.join(", ") : "nothing"}`] : []),
  ];
}

function short(text: string): string {
  return text.length > shownMax ? `${text.slice(0, shownMax - 1)}…` : text;
}

/** The `rejected` command. */
export const rejectedCommand = keptCommand({
  table: "_rejected",
  name: "rejected",
  summary: "changes that the cloud refused: show, retry, drop",
  back: "retry",
  about: "A retried change is written to its row again and sent like any other: first correct what it was refused for.",
});

/** The `conflicts` command. */
export const conflictsCommand = keptCommand({
  table: "_conflicts",
  name: "conflicts",
  summary: "versions that lost a conflict: show, restore, drop",
  back: "restore",
  about: "A restored version is written to its row again, as a new change: then it is the newest, and wins.",
});
