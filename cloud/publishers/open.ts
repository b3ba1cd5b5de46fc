/**
 * Opens the publisher that a URL names:
 *
 * | URL | publishes through |
 * | --- | --- |
 * | `mqtt://[USER:PASSWORD@]HOST[:PORT]`, `mqtts://…` | an MQTT connection |
 * | `iot-data://ENDPOINT?region=REGION` (or `https+iot://…`) | AWS IoT Core's data plane, AWS default credentials |
 * | `emqx+https://KEY:SECRET@HOST[:PORT]/api/v5/publish` (or `emqx+http://…`) | EMQX's REST API |
 *
 * `http+iot://` is for a double on this machine. Without `region` it is read from an endpoint of AWS.
 *
 * @module
 */
import { within } from "../../protocol/within.ts";
import type { BrokerConnection } from "../../mqtt/session.ts";
import { SyncError } from "../../schema/errors.ts";
import { MqttPublisher } from "./mqtt.ts";
import type { Publisher } from "./port.ts";
import { EmqxPublisher } from "./emqx.ts";

/** An opened publisher, with its counters. The caller closes it. */
export interface OpenPublisher extends Publisher {
  /** What has happened since the start. */
  readonly counters: { readonly published: number; readonly publishedBytes: number; readonly failed: number };
  /** Finishes work under way, and closes. */
  close(): Promise<void>;
}

/** Options of {@link openPublisher}. */
export interface OpenPublisherOptions extends Omit<Partial<BrokerConnection>, "url"> {
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** Bytes of one payload; default 128 KB. */
  readonly payloadBytesMax?: number;
  /** Uniform in [0, 1); default `Math.random`. */
  readonly random?: () => number;
  /** How long an MQTT connection is awaited before it continues in the background, ms; default 5000. */
  readonly connectTimeoutMs?: number;
}

const schemes = ["mqtt", "mqtts", "iot-data", "https+iot", "http+iot", "emqx+https", "emqx+http"];
const wanted = "mqtt[s]://HOST, iot-data://ENDPOINT?region=REGION or emqx+http[s]://KEY:SECRET@HOST/api/v5/publish";

/**
 * @throws {SyncError} `config` for a URL that names no publisher; the message does not quote it, because it may contain
 * a password
 */
export function checkPublisherUrl(url: string): void {
  partsOf(url);
}

function partsOf(url: string): { scheme: string; parsed: URL } {
  const scheme = /^([a-z+-]+):\/\//.exec(url)?.[1];
  // WHATWG's parser returns a host in the usual form only for known schemes.
  const parsed = URL.parse(url.replace(/^[a-z+-]+:/, "https:"));
  if (scheme === undefined || !parsed || parsed.hostname === "") throw refused(`is no URL of a publisher`);
  for (const part of [parsed.username, parsed.password]) decoded(part);
  if (!schemes.includes(scheme)) throw refused(`has the unknown scheme "${scheme}"`);
  if (scheme.startsWith("emqx+") && !(parsed.username && parsed.password)) throw refused("has no API key and secret");
  if (scheme.includes("iot") && !parsed.searchParams.has("region")) regionOf(parsed.hostname);
  return { scheme, parsed };
}

/**
 * Opens a publisher. An MQTT broker that can't be reached yet is connected to in the background.
 *
 * @throws {SyncError} `config` for a URL that names none; it is not quoted, for it may hold a password
 */
export async function openPublisher(url: string, options: OpenPublisherOptions = {}): Promise<OpenPublisher> {
  const { scheme, parsed } = partsOf(url);
  const { prefix, payloadBytesMax } = options;
  switch (scheme) {
    case "mqtt":
    case "mqtts":
      return await openMqtt(scheme, url, parsed, options);
    case "iot-data":
    case "https+iot":
    case "http+iot": {
      const { IotDataPublisher } = await import("./iot_data.ts");
      const region = parsed.searchParams.get("region") ?? regionOf(parsed.hostname);
      const http = scheme === "http+iot";
      const endpoint = http ? url.replace(/^http\+iot:\/\/([^/?#]*).*$/, "http://$1") : parsed.origin;
      return new IotDataPublisher({ endpoint, region, prefix, payloadBytesMax });
    }
    case "emqx+https":
    case "emqx+http": {
      const [key, secret] = [decoded(parsed.username), decoded(parsed.password)];
      if (!key || !secret) throw refused("has no API key and secret");
      const target = url.slice("emqx+".length).replace(/^(https?:\/\/)[^/]*@/, "$1");
      return new EmqxPublisher({ url: target, key, secret, prefix, payloadBytesMax });
    }
    default:
      throw refused(`has the unknown scheme "${scheme}"`);
  }
}

/** A name or password, without its percent signs. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw refused("has a percent sign in its name or password that is not %25");
  }
}

async function openMqtt(
  scheme: "mqtt" | "mqtts",
  url: string,
  parsed: URL,
  options: OpenPublisherOptions,
): Promise<OpenPublisher> {
  const { connectTimeoutMs = 5_000, ...rest } = options;
  const credentials = parsed.username === "" ? {} : {
    username: decoded(parsed.username),
    password: decoded(parsed.password),
  };
  const address = url.replace(/^mqtts?:\/\/(?:[^/]*@)?([^/?#]*).*$/, `${scheme}://$1`);
  const publisher = new MqttPublisher({ ...rest, ...credentials, url: address });
  await within(connectTimeoutMs, publisher.start());
  return publisher;
}

function regionOf(hostname: string): string {
  const region = /\.iot\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$/.exec(hostname)?.[1];
  if (region === undefined) throw refused("names no region");
  return region;
}

function refused(problem: string): SyncError {
  return new SyncError("config", `the publisher's URL ${problem}; wanted ${wanted}`);
}
