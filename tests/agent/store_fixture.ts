/**
 * What the store's tests share: a schema with every type and way of syncing, a store in a folder of its own, and second
 * processes (`sqlite3`, `python3`) that write to its file.
 *
 * @module
 */
import { openStore, type Store, type StoreOptions } from "../../agent/store/store.ts";
import { compileSchema, defineSchema } from "../../schema.ts";
import type { Identity } from "../../schema/model.ts";

/** One model for each way of syncing, and one with every type. */
export const exampleSchema = defineSchema({
  version: "0.0.1",
  format: "onetable:1.1.0",
  indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk" } },
  params: { isoDates: true, timestamps: true },
  models: {
    Telemetry: {
      pk: { type: String, value: "device#${deviceId}" },
      sk: { type: String, value: "telemetry#${id}" },
      deviceId: { type: String, required: true },
      id: { type: String, generate: "ulid" },
      cpu: { type: Number, required: true },
      mem: { type: Number },
      expires: { type: Date, ttl: true },
    },
    Setting: {
      pk: { type: String, value: "device#${deviceId}" },
      sk: { type: String, value: "setting#${name}" },
      deviceId: { type: String },
      name: { type: String, required: true },
      slot: { type: Number, unique: true },
      value: { type: String, default: "it's on" },
      note: { type: String, sync: "none" },
    },
    Command: {
      pk: { type: String, value: "device#${deviceId}" },
      sk: { type: String, value: "command#${id}" },
      deviceId: { type: String, required: true },
      id: { type: String, required: true },
      interval: { type: Number },
    },
    Thing: {
      pk: { type: String, value: "account#${accountId}" },
      sk: { type: String, value: "thing#${kind}#${n:8:0}" },
      gs1pk: { type: String, value: "kind#${kind}" },
      gs1sk: { type: String, value: "n#${count}" },
      accountId: { type: String },
      deviceId: { type: String },
      kind: { type: String, enum: ["a", "b", "it's"], required: true },
      n: { type: Number, required: true },
      count: { type: Number },
      flag: { type: Boolean },
      at: { type: Date },
      expires: { type: Date, ttl: true },
      meta: { type: Object },
      list: { type: Array },
      tags: { type: Set },
      sizes: { type: Set, items: { type: Number } },
      blob: { type: "binary" },
      text: { type: String, nulls: true },
      other: { type: String, map: "o" },
      token: { type: String, generate: "uuid" },
      code: { type: String, generate: "uid(7)" },
    },
    Scratch: {
      pk: { type: String, value: "scratch#${deviceId}" },
      sk: { type: String, value: "scratch#${id}" },
      deviceId: { type: String },
      id: { type: String, required: true },
      text: { type: String },
    },
  },
  process: {
    Telemetry: { sync: "up" },
    Setting: { sync: "both" },
    Command: { sync: "down" },
    Thing: { sync: "both" },
    Scratch: { sync: "none" },
  },
});

/** The compiled example. */
export const compiled = compileSchema(exampleSchema);

/** Who the tests' device is. */
export const identity: Identity = { deviceId: "dev-1", accountId: "acme" };

/** A store in memory. */
export function memoryStore(options: Partial<StoreOptions> = {}): Store {
  return openStore({ path: ":memory:", schema: compiled, identity, now: Date.now, ...options });
}

/** A store's file in a folder that goes when the test does. */
export class StoreFile implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "twintable-store-" });
  readonly path = `${this.folder}/device.db`;
  readonly #open: Store[] = [];

  /** Opens the store; it is closed with the fixture. */
  open(options: Partial<StoreOptions> = {}): Store {
    const store = openStore({
      path: this.path,
      schema: compiled,
      identity,
      now: Date.now,
      synchronous: "normal",
      ...options,
    });
    this.#open.push(store);
    return store;
  }

  /** Runs SQL in the `sqlite3` shell and gives what it prints. */
  shell(sql: string, args: string[] = []): string {
    return run("sqlite3", ["-bail", "-cmd", ".timeout 5000", ...args, this.path], sql);
  }

  /** Runs Python with the database open as `db` (autocommit) and gives what it prints. */
  python(code: string): string {
    const head = `import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)\n`;
    return run("python3", ["-c", head + code, this.path], "");
  }

  [Symbol.dispose](): void {
    for (const store of this.#open) store.close();
    Deno.removeSync(this.folder, { recursive: true });
  }
}

function run(command: string, args: string[], input: string): string {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, input);
    // A shell gives the file as standard input, which `outputSync` can't.
    const { code, stdout, stderr } = new Deno.Command("sh", {
      args: ["-c", 'input=$1; shift; exec "$@" < "$input"', "sh", file, command, ...args],
      stdout: "piped",
      stderr: "piped",
    }).outputSync();
    const text = new TextDecoder().decode(stdout);
    if (code !== 0) throw new Error(new TextDecoder().decode(stderr).trim() || `${command} ended with ${code}`);
    return text.trimEnd();
  } finally {
    Deno.removeSync(file);
  }
}
