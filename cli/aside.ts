/**
 * `mod.ts aside`: items from the cloud that their tables on the device cannot accept: what they are, why, and what
 * blocks them. Uses SQL on the file, beside a running agent. Only the agent applies such items: `retry` asks it to.
 *
 * @module
 */
import type { Database, Driver } from "../agent/sqlite/driver.ts";
import { asideRetryFact } from "../agent/store/tables.ts";
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { linkLines } from "./console_link.ts";
import { isLeased, readDevice } from "./device_file.ts";
import { driverFlags, driverOf } from "./driver_flags.ts";

/** An item that is set aside. */
export interface AsideItem {
  /** Its place in the list, in the order in which they were set aside. */
  readonly number: number;
  readonly model: string;
  /** The key in the table: hash and sort value. */
  readonly key: readonly [string, string];
  /** The item as tagged JSON; null: it is to be removed, but an application's trigger refuses that. */
  readonly item: unknown;
  /** The table's error. */
  readonly error: string;
  /** Since when, ISO text in the cloud's time. */
  readonly since: string;
}

/** Reads what is set aside. */
export function listAside(db: Database, model?: string): AsideItem[] {
  const rows = db.prepare(
    `SELECT row_number() OVER (ORDER BY a.time, a.hash, a.sort) AS number, m.name AS model, a.hash, a.sort, a.item, a.error, a.time
     FROM _sync_aside AS a LEFT JOIN _sync_models AS m ON m.number = a.model ORDER BY number`,
  ).all();
  return rows.map((row) => ({
    number: Number(row.number),
    model: String(row.model ?? "?"),
    key: [String(row.hash), String(row.sort)] as const,
    item: row.item === null ? null : JSON.parse(String(row.item)),
    error: String(row.error),
    since: new Date(Number(row.time)).toISOString(),
  })).filter((one) => model === undefined || one.model === model);
}

/** How long to wait for a running agent. */
const waitMs = 5_000, lookMs = 50;

/** Asks the agent to try them again now. @returns whether it has */
async function retry(path: string, driver: Driver): Promise<boolean> {
  const db = driver(path);
  try {
    db.prepare("INSERT OR REPLACE INTO _sync(name, value) VALUES (?, 1)").run(asideRetryFact);
    const isAsked = () => db.prepare("SELECT 1 FROM _sync WHERE name = ?").get(asideRetryFact) !== undefined;
    for (const untilMs = performance.now() + waitMs; isLeased(path) && performance.now() < untilMs;) {
      if (!isAsked()) return true;
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
    return !isAsked();
  } finally {
    db.close();
  }
}

/** The `aside` command. */
export const asideCommand = defineCommand({
  name: "aside",
  summary: "items from the cloud that their tables can't accept: show, try again",
  usage: ["list --db FILE [--model M] [--json]", "show N --db FILE [--json]", "retry --db FILE"],
  about: [
    "An item waits here where a unique value is another row's, a constraint of this schema or a trigger of an application\n" +
    "refuses it. The row stays as it was. Put right what it was refused for; the agent tries again every minute, after every\n" +
    "message, and at retry.",
  ],
  flags: {
    db: { type: "string", value: "FILE", summary: "the device's database", required: true },
    model: { type: "string", value: "MODEL", summary: "list: of this model only" },
    json: { type: "boolean", summary: "print JSON" },
    ...driverFlags,
  },
  operands: [1, 2],
  async run({ flags, operands, print }) {
    const [action, number] = operands as [string, string | undefined];
    if (!["list", "show", "retry"].includes(action)) throw new UsageError(`aside ${action}? list, show or retry`);
    if ((action === "show") !== (number !== undefined)) {
      throw new UsageError(action === "show" ? "aside show needs a number" : `aside ${action} takes no number`);
    }
    const driver = await driverOf(flags);
    if (action === "retry") {
      const before = readDevice(flags.db, (db) => listAside(db), driver).length;
      if (before === 0) {
        print("none");
        return 0;
      }
      const isDone = await retry(flags.db, driver);
      const left = readDevice(flags.db, (db) => listAside(db), driver);
      print(
        isDone
          ? `${before - left.length} placed, ${left.length} left`
          : "no agent is running: it tries them when it starts",
      );
      for (const line of lines(left)) if (isDone && left.length > 0) print(line);
      return isDone && left.length > 0 ? 1 : 0;
    }
    const list = readDevice(flags.db, (db) => listAside(db, flags.model), driver);
    if (action === "list") {
      if (flags.json) print(JSON.stringify(list, null, 2));
      else {
        for (const line of lines(list)) print(line);
        if (list.length > 0) (await linkLines(flags.db, driver, "aside")).forEach(print);
      }
      return 0;
    }
    const one = list.find((item) => String(item.number) === number);
    if (!one) throw new CommandError(`nothing is set aside under the number ${number}`);
    if (flags.json) print(JSON.stringify(one, null, 2));
    else {
      print(`${one.model} ${JSON.stringify(one.key)}, set aside at ${one.since}`);
      print(`why   ${one.error}`);
      print(one.item === null ? "it is to be removed" : `item  ${JSON.stringify(one.item, null, 2)}`);
    }
    return 0;
  },
});

function lines(list: readonly AsideItem[]): string[] {
  if (list.length === 0) return ["none"];
  return list.map(({ number, model, key, item, error, since }) =>
    `${number}  ${since}  ${item === null ? "remove" : "put"} ${model} ${key[1] || key[0]}: ${error}`
  );
}
