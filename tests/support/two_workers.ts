/**
 * Two workers on one Mosquitto and one table, for what either does and the other has to know of.
 *
 * @module
 */
import type { Cloud } from "../../cloud/running_cloud.ts";
import { startCloud } from "../../cloud/worker.ts";
import { openEmbedded } from "../../cloud/embedded/tables.ts";
import type { Identity, Schema } from "../../schema/model.ts";
import { startMosquitto } from "./mosquitto.ts";

/** What a test is handed. */
export interface TwoWorkers {
  readonly a: Cloud;
  readonly b: Cloud;
  /** The broker for the device, whose password is `t`. */
  readonly mqtt: string;
}

/** Starts them, registers the device at one, and ends everything. */
export async function withTwoWorkers(
  schema: Schema,
  identity: Identity,
  run: (workers: TwoWorkers) => Promise<void>,
): Promise<void> {
  const internal = { username: "twintable-cloud", password: "secret" };
  const broker = await startMosquitto({ devices: [{ ...identity, token: "t" }], internal });
  const tables = openEmbedded(":memory:", { schema, now: Date.now });
  try {
    const options = { schema, table: tables, mqtt: `mqtt://127.0.0.1:${broker.workerPort}`, ...internal, http: {} };
    await using a = await startCloud(options);
    await using b = await startCloud(options);
    await a.registry.add(identity.deviceId, identity.accountId);
    await run({ a, b, mqtt: `mqtt://127.0.0.1:${broker.devicePort}` });
  } finally {
    await tables.close();
    await broker.stop();
  }
}
