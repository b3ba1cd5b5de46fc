/**
 * The checks of `doctor` on the way to the cloud: the name, the connection, the credentials, the subscriptions, and
 * whether a worker answers.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { tokenPath } from "../../agent/credentials/token_file.ts";
import { MqttLink } from "../../agent/link.ts";
import type { Driver } from "../../agent/sqlite/driver.ts";
import type { FromCloud } from "../../protocol.ts";
import { within } from "../../protocol/within.ts";
import { describeFault } from "../command.ts";
import type { Connection } from "../connection.ts";
import { readDevice } from "../device_file.ts";
import { type Finding, ok, unknown, wrong } from "./finding.ts";

/** How long a connection, and then an answer, may take. */
const connectMs = 15_000, answerMs = 10_000;
/** A failed connection is retried meanwhile, in case it was cut by chance. */
const failMs = 3_000;

/** A device that asks. */
export interface Asker {
  readonly path: string;
  readonly driver: Driver;
  readonly deviceId: string;
  readonly accountId: string;
}

/** Whether the broker's name resolves. */
export async function examineName(url: string): Promise<Finding> {
  const { hostname } = new URL(url), host = hostname.replace(/^\[|\]$/g, "");
  try {
    const { address } = await lookup(host);
    return ok("name", host === address ? `${host} is an address` : `${host} is ${address}`);
  } catch (error) {
    return wrong("name", `${host} is not known: ${describeFault(error)}`, "check the name and the DNS server");
  }
}

/** Connects and asks like the device. Must not run beside its agent, which the broker would disconnect. */
export async function examineBroker(
  { mqtt, certificateFiles: _agents, ...connection }: Connection,
  asker: Asker,
): Promise<Finding[]> {
  const { deviceId, accountId } = asker;
  const identity = { deviceId, accountId }, tokenFile = tokenPath(asker.path);
  const link = new MqttLink({ ...connection, url: mqtt, identity, tokenFile });
  const up = Promise.withResolvers<true>(), answer = Promise.withResolvers<FromCloud>();
  const ended = new AbortController();
  const request = `doctor${crypto.randomUUID().slice(0, 8)}/1`;
  link.start({
    connected: () => up.resolve(true),
    disconnected: () => {},
    message: (message) => "request" in message && message.request === request && answer.resolve(message),
  });
  try {
    const host = new URL(mqtt).host;
    const startMs = performance.now();
    const isHopeless = () => link.lastError !== undefined && performance.now() - startMs > failMs;
    const given = once(() => link.refused || isHopeless(), ended.signal);
    if (!await within(connectMs, Promise.race([up.promise, given]))) {
      const why = link.lastError ?? `no answer within ${connectMs / 1000} s`;
      return [wrong("broker", `${host}: ${why}`, adviceOf(link, why))];
    }
    const findings = [ok("broker", `${host} lets the device in and grants its subscriptions`)];
    const channels = channelsOf(asker);
    if (channels.length === 0) {
      return [...findings, unknown("cloud", "no channel to ask for: the agent has never synced")];
    }
    link.send({ type: "sync", request, channels });
    findings.push(
      await within(answerMs, answer.promise) ? ok("cloud", "a worker answers") : wrong(
        "cloud",
        `no worker answers within ${answerMs / 1000} s`,
        "is one running on this broker, with this --prefix? Is the device registered (device list)?",
      ),
    );
    return findings;
  } finally {
    ended.abort();
    await link.close();
  }
}

function adviceOf(link: MqttLink, why: string): string {
  if (link.refused) return "check the device's id, its account and its token (device list, device rotate)";
  if (/certificate|self.signed|tls|ssl/i.test(why)) {
    return "check --ca, the certificate's names and dates, and this clock";
  }
  if (/refused|ECONNREFUSED/i.test(why)) return "nothing listens there: check host and port, and that the broker runs";
  return "check host, port and the network (a firewall?)";
}

function channelsOf({ path, driver }: Asker) {
  return readDevice(path, (db) => db.prepare("SELECT channel, epoch, seq FROM _sync_channels").all(), driver)
    .flatMap(({ channel, epoch, seq }) =>
      epoch === null || seq === null ? [] : [{ channel: String(channel), epoch: String(epoch), seq: Number(seq) }]
    );
}

/** Resolves with undefined once `over` holds, and never otherwise; its polling ends with the signal. */
function once(over: () => boolean, signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    const timer = setInterval(() => over() && resolve(undefined), 50);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  });
}
