/**
 * Many devices in one process, as the broker and the cloud see them: each has a connection with the product's session and
 * codec, and speaks the protocol; none has a database.
 *
 * @module
 */
import { Decoder, encode, topics, type Up } from "../../protocol.ts";
import { MqttSession } from "../../mqtt/session.ts";
import { answerCalls, nowMs } from "../child.ts";
import { telemetryValues } from "../schema.ts";
import { until } from "../until.ts";

interface Member {
  readonly device: string;
  readonly session: MqttSession;
}

const topic = topics();
const members: Member[] = [];
const decoder = new Decoder({ now: () => performance.now() });
const acknowledged = new Set<string>();
/** When each live entry of a shared channel arrived: all devices', by the entry's number. */
const arrivals = new Map<number, number[]>();
let batches = 0;

function receive(payload: Uint8Array, device: string): void {
  const message = decoder.accept(payload, "down", device);
  if (message?.type === "ack" && message.answers.length === 0) acknowledged.add(message.batch);
  if (message?.type !== "changes") return;
  const list = arrivals.get(message.seq) ?? [];
  arrivals.set(message.seq, list);
  list.push(nowMs());
}

function join(url: string, device: string, account: string, token: string): Promise<void> {
  return new Promise((resolve) => {
    const session = new MqttSession({
      url,
      clientId: device,
      username: device,
      password: token,
      subscriptions: [topic.down(device), topic.account(account), topic.all],
      logName: "bench",
    }, { up: resolve, down: () => {}, message: (_, payload) => receive(payload, device) });
    members.push({ device, session });
    session.start();
  });
}

function publish({ session, device }: Member, up: Up): void {
  for (const payload of encode(up)) {
    if (!session.publish(topic.up(device), payload)) throw new Error(`${device} is not connected`);
  }
}

const methods = {
  /** Connects devices, 50 at a time. */
  async join({ url, devices, account, tokens }: {
    url: string;
    devices: string[];
    account: string;
    tokens: string[];
  }) {
    for (let at = 0; at < devices.length; at += 50) {
      const some = devices.slice(at, at + 50);
      await Promise.all(some.map((device, i) => join(url, device, account, tokens[at + i]!)));
    }
  },
  /** Each of the first `devices` sends a batch of measurements, 200 devices at a time, and waits for its answer. */
  async send({ devices, changes }: { devices: number; changes: number }) {
    for (let at = 0; at < devices; at += 200) {
      const ids: string[] = [];
      for (const member of members.slice(at, Math.min(at + 200, devices))) {
        const batch = `bench/${++batches}`, sent = Date.now();
        const list = Array.from({ length: changes }, (_, i) => {
          const [n, cpu, memory, state] = telemetryValues(i);
          const item = { id: `${batch}-${i}`, n, cpu, memory, state };
          return { model: "Telemetry", op: "create" as const, item, stamp: sent * 1000 + i };
        });
        publish(member, { type: "up", batch, sent, changes: list });
        ids.push(batch);
      }
      await until("the batches are answered", () => ids.every((id) => acknowledged.has(id)), 60_000, 1);
    }
  },
  arrivals: () => [...arrivals].sort(([a], [b]) => a - b).map(([, times]) => times),
};

await answerCalls(methods, () => Promise.all(members.map(({ session }) => session.close())));
