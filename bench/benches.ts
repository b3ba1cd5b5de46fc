/**
 * All benchmarks, in the order in which they run.
 *
 * @module
 */
import type { Bench } from "./measure.ts";
import { consoleBench } from "./rows/console.ts";
import { dynamodb } from "./rows/dynamodb.ts";
import { agent, backlog } from "./rows/agent.ts";
import { binary } from "./rows/binary.ts";
import { bulkDown } from "./rows/bulk_down.ts";
import { capture } from "./rows/capture.ts";
import { data } from "./rows/data.ts";
import { down } from "./rows/down.ts";
import { fanOut, fleet } from "./rows/fleet.ts";
import { growth } from "./rows/growth.ts";
import { latency } from "./rows/latency.ts";
import { peersBench } from "./rows/peers.ts";
import { raw } from "./rows/raw.ts";
import { storm } from "./rows/storm.ts";
import { up } from "./rows/up.ts";
import { wire } from "./rows/wire.ts";

/** See the module. */
export const benches: readonly Bench[] = [
  raw,
  capture,
  up,
  down,
  latency,
  wire,
  agent,
  backlog,
  binary,
  bulkDown,
  data,
  fanOut,
  fleet,
  storm,
  consoleBench,
  dynamodb,
  growth,
  peersBench,
];
