/**
 * An MQTT client that publishes with QoS 1, so many in flight.
 *
 * @module
 */
import { type BrokerConnection, MqttSession } from "../../mqtt/session.ts";
import { answerCalls } from "../child.ts";

let session: MqttSession;
const inFlight = 100;

const methods = {
  connect(connection: BrokerConnection) {
    return new Promise<void>((resolve) => {
      session = new MqttSession(
        { ...connection, clientId: "bench-publisher", subscriptions: [], logName: "bench" },
        { up: resolve, down: () => {}, message: () => {} },
      );
      session.start();
    });
  },
  /** Publishes until the last one is acknowledged; messages/s. */
  async publish({ bytes, count }: { bytes: number; count: number }) {
    const payload = new Uint8Array(bytes).fill(120);
    let next = 0;
    const lane = async () => {
      while (next < count) {
        next++;
        await new Promise<void>((resolve, reject) => {
          const sent = session.publish("tt/bench", payload, (error) => error ? reject(error) : resolve());
          if (!sent) reject(new Error("not connected"));
        });
      }
    };
    const start = performance.now();
    await Promise.all(Array.from({ length: inFlight }, lane));
    return count * 1000 / (performance.now() - start);
  },
};

await answerCalls(methods, () => session?.close());
