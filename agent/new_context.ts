/**
 * Makes the parts of a device's sync and ties them into a {@link Context}.
 *
 * @module
 */
import { ChangesTable } from "./sync/changes.ts";
import { Asides } from "./sync/aside.ts";
import { DeviceClock } from "./sync/clock.ts";
import { type Context, type Counters, defaultLimits } from "./sync/context.ts";
import { InFlight } from "./sync/flight.ts";
import { ItemRecords } from "./sync/items.ts";
import { Outbox } from "./sync/outbox.ts";
import { Restores } from "./sync/restores.ts";
import { Waits } from "./sync/waits.ts";
import type { TwinOptions } from "./twin.ts";
import type { Facts } from "./upkeep/facts.ts";
import { Problems } from "./upkeep/problems.ts";
import { StuckRows } from "./upkeep/stuck.ts";

/** The context of a device's sync, over its store. Nothing is read from the database yet. */
export function newContext(
  { store, clock: ambient, random, limits }: TwinOptions,
  facts: Facts,
  { send, applied }: Pick<Context, "send" | "applied">,
): Context {
  const counters: Counters = {
    sent: 0,
    acknowledged: 0,
    conflicts: 0,
    rejected: 0,
    applied: 0,
    resent: 0,
    ignored: 0,
    failures: 0,
  };
  const outbox = new Outbox(store), clock = new DeviceClock(ambient, store, outbox);
  const problems = new Problems(facts, () => store.now()), records = new ItemRecords(store);
  return {
    store,
    problems,
    stuck: new StuckRows(problems),
    clock,
    records,
    restores: new Restores(store, records.learnt),
    outbox,
    inFlight: new InFlight(store, store.identity.deviceId),
    waits: new Waits(store, clock, problems, random),
    asides: new Asides(store),
    changes: new ChangesTable(store, clock),
    identity: store.identity,
    incarnation: newIncarnation(random),
    limits: { ...defaultLimits, ...limits },
    counters,
    random,
    send,
    applied,
  };
}

/** 12 characters of [0-9a-z]: 62 bits, so that two starts of one device never share it. */
function newIncarnation(random: () => number): string {
  let text = "";
  while (text.length < 12) text += Math.floor(random() * 36).toString(36);
  return text;
}
