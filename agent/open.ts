/**
 * Opens an agent: the lease, the driver, the database, the generation. A failed start leaves the file as it was, and
 * says whether the next start must check it.
 *
 * @module
 */
import { checkId, compiledOf, identityProblem, type OneTableSchema, SyncError } from "../schema.ts";
import type { Identity } from "../schema/model.ts";
import { Agent, systemClock } from "./agent.ts";
import type { Driver } from "./sqlite/driver.ts";
import { ffiDriver } from "./sqlite/driver_ffi.ts";
import { takeLease } from "./sqlite/lease.ts";
import { shareWithGroup } from "./sqlite/private_file.ts";
import { openStore, type Store } from "./store/store.ts";
import type { AgentOptions } from "./types.ts";
import { beginGeneration } from "./upkeep/generation.ts";

export type { Agent } from "./agent.ts";

/** Whether the database must be checked at the next start, too. Any other refusal left it unchanged. */
function meansDamage(error: unknown): boolean {
  return !(error instanceof SyncError) || error.code === "corrupt" || error.code === "io";
}

/** @throws {TypeError} if a key is given to the built-in SQLite, which would write in plaintext */
function driverOf({ driver, sqliteLibrary, databaseKey }: AgentOptions<OneTableSchema>): Driver | undefined {
  if (driver !== "ffi") {
    if (sqliteLibrary !== undefined || databaseKey !== undefined) {
      throw new TypeError('sqliteLibrary and databaseKey go with driver: "ffi"');
    }
    return undefined;
  }
  const key = typeof databaseKey === "string" ? new TextEncoder().encode(databaseKey) : databaseKey;
  if (key?.length === 0) throw new TypeError("databaseKey is empty");
  return ffiDriver({ library: sqliteLibrary, key });
}

/**
 * Opens the device's database, creates or migrates it as the schema says, and starts to sync.
 *
 * @throws SchemaError for a schema that is refused
 * @throws SyncError `in-use` (another agent has the file), `foreign-database` (it is another device's or account's),
 *   `not-a-database`, `corrupt`, `newer-format`, `migration` (rows that the schema does not fit), `busy`, `full`, `io`
 * @throws RangeError for a device or account id that is not one
 */
// deno-lint-ignore require-await -- its errors are rejections, whatever throws them
export async function openAgent<const S extends OneTableSchema>(options: AgentOptions<S>): Promise<Agent<S>> {
  const identity: Identity = { deviceId: options.device, accountId: options.account };
  checkId("device", identity.deviceId);
  checkId("account", identity.accountId);
  const schema = compiledOf(options.schema);
  const unfit = identityProblem(schema, identity);
  if (unfit !== undefined) throw new RangeError(unfit);
  const driver = driverOf(options);
  const lease = takeLease(options.path);
  // A program that may open the database may also see whether an agent runs on it.
  if (options.group && options.path !== ":memory:") shareWithGroup(lease.path);
  let store: Store | undefined;
  try {
    store = openStore({
      path: options.path,
      schema,
      identity,
      synchronous: options.synchronous,
      group: options.group,
      check: lease.unclean,
      driver,
      now: () => (options.clock ?? systemClock).wallMs(),
    });
    const restored = beginGeneration(store, lease);
    return new Agent<S>(store, options, lease, restored);
  } catch (error) {
    store?.close();
    if (!store && !meansDamage(error)) lease.left();
    lease[Symbol.dispose]();
    throw error;
  }
}
