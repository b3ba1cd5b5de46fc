/**
 * An embedded broker for devices that have no cloud behind it, as the tests of rights and frames need it: what
 * `startDynsecFor` is for Mosquitto.
 *
 * @module
 */
import { startBroker } from "../../cloud/broker/broker.ts";

/** Lets in the worker, and each device with the token that `token` tells. */
export async function startEmbeddedFor(devices: readonly (readonly [device: string, account: string])[]) {
  const worker = { username: "twintable-cloud", password: "secret" };
  const known = new Map(devices), token = (device: string) => `token-of-${device}`;
  const broker = await startBroker({
    internal: worker,
    authenticate: (deviceId, given) => {
      const accountId = known.get(deviceId);
      return Promise.resolve(
        accountId !== undefined && given === token(deviceId) ? { deviceId, accountId } : undefined,
      );
    },
  });
  return {
    devicePort: broker.port,
    workerPort: broker.port,
    worker,
    token,
    [Symbol.asyncDispose]: () => broker.close(),
  };
}
