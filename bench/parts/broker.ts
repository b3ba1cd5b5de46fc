/**
 * The embedded broker alone. It lets in every device whose token is its id, all of the account `bench`.
 *
 * @module
 */
import { type Broker, startBroker } from "../../cloud/broker/broker.ts";
import { MqttSession } from "../../mqtt/session.ts";
import { answerCalls } from "../child.ts";

let broker: Broker | undefined, subscriber: MqttSession | undefined;
const internal = { username: "bench", password: "bench" };

const methods = {
  async start() {
    const identityOf = (deviceId: string) => Promise.resolve({ deviceId, accountId: "bench" });
    broker = await startBroker({
      internal,
      identityOf,
      authenticate: (deviceId, token) => token === deviceId ? identityOf(deviceId) : Promise.resolve(undefined),
    });
    return { url: `mqtt://127.0.0.1:${broker.internalPort}`, ...internal };
  },
  /** A reader of a topic, in this process as the worker is beside the embedded broker. */
  subscribe({ topic }: { topic: string }) {
    return new Promise<void>((resolve) => {
      subscriber = new MqttSession({
        url: `mqtt://127.0.0.1:${broker!.internalPort}`,
        ...internal,
        clientId: "bench-reader",
        subscriptions: [topic],
        logName: "bench",
      }, { up: resolve, down: () => {}, message: () => {} });
      subscriber.start();
    });
  },
};

await answerCalls(methods, async () => {
  await subscriber?.close();
  await broker?.close();
});
