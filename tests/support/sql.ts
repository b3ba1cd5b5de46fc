/**
 * Access to a device's database as an application has it: by a connection or a process of its own, never by the agent's.
 *
 * @module
 */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";

/** A row of a query. */
export type Row = Record<string, null | number | bigint | string | Uint8Array>;

/** A connection of an application's own in this process; waits for locks as applications should. */
export function connect(path: string): DatabaseSync & Disposable {
  const db = new DatabaseSync(path, { timeout: 30_000 });
  return Object.assign(db, { [Symbol.dispose]: () => db.close() });
}

/** Runs one query on a connection of its own. */
export function query(path: string, sql: string, ...values: SQLInputValue[]): Row[] {
  using db = connect(path);
  return db.prepare(sql).all(...values).map((row) => ({ ...row })) as Row[];
}

/** The first value of a query's first row, as a number. */
export function count(path: string, sql: string, ...values: SQLInputValue[]): number {
  return Number(Object.values(query(path, sql, ...values)[0]!)[0]);
}

/** Runs SQL in the `sqlite3` shell and gives what it prints. Throws what it complains about. */
export function shell(path: string, sql: string, env: Record<string, string> = {}): Promise<string> {
  return run("sqlite3", ["-bail", "-cmd", ".timeout 30000", path], sql, env);
}

/** Runs Python with the database open as `db` (autocommit) and gives what it prints. Throws what it complains about. */
export function python(path: string, code: string): Promise<string> {
  const head = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n";
  return run("python3", ["-c", head + code, path], "", {});
}

async function run(command: string, args: string[], input: string, env: Record<string, string>): Promise<string> {
  const child = new Deno.Command(command, { args, env, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  // A shell that bails out closes its input; its message says why.
  await writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr).trim() || `${command} ended with ${code}`);
  return new TextDecoder().decode(stdout).trimEnd();
}
