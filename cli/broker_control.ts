/**
 * The flags by which `device add`, `rotate` and `revoke` keep Mosquitto's dynamic-security plugin in step.
 *
 * @module
 */
import { sendControl } from "../cloud/broker_config/control.ts";
import type { ControlCommand } from "../cloud/broker_config/mosquitto.ts";
import { SyncError } from "../schema/errors.ts";
import { UsageError } from "./args.ts";
import { CommandError } from "./command.ts";
import { readFlagFile } from "./connection.ts";
import { checkSecretTravel, readSecret } from "./secret.ts";

interface ControlFlags {
  readonly broker?: string;
  readonly "broker-username": string;
  readonly "broker-password-file"?: string;
  readonly "broker-ca"?: string;
}

/**
 * A function that sends commands to the broker in the flags; without a broker, it does nothing. @throws {UsageError}
 * for flags that do not fit together
 */
export async function controlOf(flags: ControlFlags): Promise<(commands: ControlCommand[]) => Promise<void>> {
  const { broker, "broker-username": username, "broker-password-file": file, "broker-ca": ca } = flags;
  if (broker === undefined) return () => Promise.resolve();
  if (file === undefined) throw new UsageError("--broker needs --broker-password-file");
  const password = await readSecret("broker-password-file", file);
  checkSecretTravel(broker, true, false);
  const pem = ca === undefined ? {} : { ca: await readFlagFile("broker-ca", ca) };
  return async (commands) => {
    try {
      await sendControl({ url: broker, username, password, ...pem }, commands);
    } catch (error) {
      throw error instanceof SyncError ? new CommandError(error.message) : error;
    }
  };
}
