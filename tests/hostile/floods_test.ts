/**
 * While a hostile device floods, a good device of another account is served nearly as fast as in quiet, and the worker's memory
 * stays bounded. p99 of 200 questions and changes, one after the other.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { completeItem } from "../../schema.ts";
import { tlsMissing } from "../support/certificates.ts";
import { dynsecMissing } from "../support/mosquitto_dynsec.ts";
import { skipped } from "../support/tools.ts";
import { letInAgain, openRig, type Peer, type Rig, schema } from "./rig.ts";

const all = [
  "syncs",
  "fetches",
  "compares",
  "brackets",
  "texts",
  "parts",
  "refused",
  "writes",
  "presence",
  "subscribes",
  "garbage",
  "pings",
  "acknowledgements",
  "releases",
  "unsubscribes",
  "repeats",
  "probes",
  "channels",
  "reports",
  "guesses",
  "blanks",
  "connections",
];
/** Before there is MQTT: only where there is TLS. */
const ofTls = ["half handshakes", "broken handshakes", "handshakes"];
/** A few of each kind; `FLOODS=all` tries all of them, `FLOODS=syncs,fetches` these. */
const chosen = Deno.env.get("FLOODS");
const usual = ["syncs", "fetches", "brackets", "refused", "guesses", "connections"];
const floods = chosen === "all" ? [...all, ...ofTls] : chosen?.split(",") ?? [...usual, ...ofTls];
const probes = 200;
/** Mosquitto limits no connection before or beside a device's messages: those floods are over when the good device is asked. */
const unseenByWorkers = ["subscribes", "guesses", "blanks", "connections"];
/**
 * With `FLOOD_STRICT=1`, for a machine of its own, p99 has to stay within three times its quiet value. Where flooder, test, worker
 * and whatever else runs share two processors, it is p50 that tells, and that nobody waits for seconds.
 */
const isStrict = Deno.env.get("FLOOD_STRICT") === "1";
const allowanceMs = 300, waitMaxMs = 5_000;

type Latency = Awaited<ReturnType<typeof measured>>;

function isServed(now: Latency, quiet: Latency): boolean {
  if (isStrict) return now.p99 <= 3 * quiet.p99;
  return now.p50 <= 3 * quiet.p50 + allowanceMs && now.p99 <= waitMaxMs;
}

/** The goal is 250 MB; with processors that others use, the collector comes later. */
const memoryMaxMb = isStrict ? 250 : 320;
const flooder = fileURLToPath(new URL("flooder.ts", import.meta.url));

let n = 0;

/** p50 and p99 of the good device's questions and changes, ms. */
async function measured(good: Peer): Promise<{ p50: number; p99: number }> {
  const times: number[] = [];
  for (let at = 0; at < probes; at++) {
    const id = `good/${++n}`;
    times.push(
      await good.ask(
        at % 2 === 0 ? { type: "sync", request: id, channels: [{ channel: "device:good", epoch: "x", seq: 0 }] } : {
          type: "up",
          batch: id,
          sent: Date.now(),
          changes: [{ model: "Own", op: "create", stamp: Date.now() * 1000, item: { id: `g${n}`, v: n } }],
        },
      ),
    );
    good.connection.received.splice(0);
    good.rewind();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  times.sort((a, b) => a - b);
  return { p50: times[probes / 2]!, p99: times[Math.floor(probes * 0.99) - 1]! };
}

/** The spy's own large items: what it may ask for. */
async function fillLarge(rig: Rig): Promise<void> {
  const model = schema.models.get("Own")!, identity = { deviceId: "spy", accountId: "beta" };
  for (let at = 0; at < 100; at++) {
    const item = completeItem(schema, model, { id: `spy-large-${at}`, text: "x".repeat(390 * 1024) }, identity);
    await rig.tables.data.write([{ op: "put", item: { ...item, _source: "spy#k", _stamp: Date.now() * 1000 - 1e9 } }]);
  }
}

const served = "a good device is served all the while, and memory is bounded";
const brokers = [
  ["embedded", undefined, `at the embedded broker ${served}`],
  ["embedded with TLS", tlsMissing, `handshakes at the embedded broker: ${served}`],
  ["mosquitto", dynsecMissing, "at Mosquitto a device that floods is cut, and a good one is served meanwhile"],
] as const;

/** CI tries another one with each commit. */
const turn = Deno.env.get("TWINTABLE_TURN");

for (const [broker, missing, name] of turn ? [brokers[Number(turn) % brokers.length]!] : brokers) {
  const isPaced = broker !== "mosquitto";
  const kinds = floods.filter((kind) => ofTls.includes(kind) === (broker === "embedded with TLS"));
  Deno.test({
    name: `floods: ${name}`,
    ignore: skipped(missing) || kinds.length === 0,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using rig = await openRig(broker);
      await fillLarge(rig);
      const good = await rig.peer("good");
      await measured(good);
      const quiet = await measured(good);
      const lines = [`quiet: p50 ${quiet.p50.toFixed(1)}, p99 ${quiet.p99.toFixed(1)} ms`];
      const failed: string[] = [];
      for (const kind of kinds) {
        const child = new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "--no-check", flooder, kind, String(rig.devicePort), "spy", rig.token("spy")],
          stdout: "null",
          stderr: "null",
        }).spawn();
        try {
          await new Promise((resolve) => setTimeout(resolve, 2_000));
          // Until the worker has had the device disabled, its messages displace others.
          if (!isPaced) await good.ask({ type: "sync", request: `good/${++n}`, channels: [] });
          if (!isPaced && unseenByWorkers.includes(kind)) {
            child.kill("SIGKILL");
            await child.status;
            await good.ask({ type: "sync", request: `good/${++n}`, channels: [] });
          }
          const { p50, p99 } = await measured(good);
          const { now, most } = await rig.memory();
          lines.push(
            `${kind}: p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)} ms; memory ${now.toFixed(0)} MB, at most ${
              most.toFixed(0)
            } MB`,
          );
          if (!isServed({ p50, p99 }, quiet)) failed.push(`${kind}: p50 ${p50} ms, p99 ${p99} ms`);
          const judged = isStrict ? most : now;
          if (judged > memoryMaxMb) failed.push(`${kind}: ${judged} MB`);
        } finally {
          if (isPaced || !unseenByWorkers.includes(kind)) child.kill("SIGKILL");
          await child.status;
        }
        if (!isPaced) await letInAgain(rig);
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      console.log(lines.map((line) => `    ${line}`).join("\n"));
      assert.deepEqual(failed, []);
      await good.connection.close();
    },
  });
}
