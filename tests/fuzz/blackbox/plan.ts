/**
 * What a round is, decided by its seed before anything runs: schema, topology, devices, faults. Only timing is the machine's.
 *
 * @module
 */
import { Random } from "../../sim/random.ts";
import { type MadeSchema, makeSchema, shuffled, upgraded } from "./made_schema.ts";

/** Faults that a round may have. */
export const faultKinds = [
  ...[
    "kill-agent",
    "kill-worker",
    "kill-app",
    "stop-agent",
    "stop-worker",
    "cut",
    "broker",
    "clock",
    "disk",
    "reopen",
    "upgrade",
    "rollback",
    "commands",
    "restore",
    "table-restore",
    "log-lost",
  ],
] as const;

/** Those of a round that was asked for none in particular. A device that is rolled back leaves less to be judged. */
const usualFaults = faultKinds.filter((kind) => kind !== "restore");

/** What is done to the table itself; the log is lost of an embedded one alone. Drawn apart, so that what older seeds decide stays as it was. */
const tableFaults: readonly FaultKind[] = ["table-restore", "log-lost"];

/** One of {@link faultKinds}. */
export type FaultKind = typeof faultKinds[number];

/** Where the table is. */
export type TableKind = "embedded" | "dynoxide" | "dynamodb-local";

/** A device of a round. */
export interface PlannedDevice {
  readonly id: string;
  readonly account: string;
  /** MQTT 3.1.1 or 5. */
  readonly mqttVersion: 4 | 5;
}

/** A round. */
export interface Plan {
  readonly seed: number;
  readonly table: TableKind;
  readonly broker: "embedded" | "mosquitto";
  readonly workers: number;
  readonly devices: readonly PlannedDevice[];
  /** Devices reach the broker by TLS. */
  readonly tls: boolean;
  readonly schema: MadeSchema;
  /** The version that both sides come to. */
  readonly next: MadeSchema | undefined;
  /** Who comes to it first. */
  readonly cloudFirst: boolean;
  readonly faults: readonly FaultKind[];
  /** Changes that may wait on a device. */
  readonly outboxMax: number | undefined;
  /** Applications also do what programs that share a file do: VACUUM, indexes, columns and triggers of their own. */
  readonly chores: boolean;
  /** Of one MQTT message from a device. */
  readonly payloadMax: number | undefined;
  /** Transactions of each application, and writes of each cloud writer. */
  readonly steps: number;
}

/** What this machine has. */
export interface Means {
  readonly tables: readonly TableKind[];
  readonly mosquitto: boolean;
  readonly faketime: boolean;
  /** `strace`, and the right to use it on others. */
  readonly disk: boolean;
}

/** Plans a round. `only`: faults that it may have at most. */
export function planRound(seed: number, means: Means, only: readonly FaultKind[] = usualFaults, steps = 40): Plan {
  const random = new Random(seed);
  const wanted: TableKind = random.weighted({ embedded: 4, dynoxide: 3, "dynamodb-local": 1 });
  const table = means.tables.includes(wanted) ? wanted : "embedded";
  const isMosquitto = random.chance(0.6), twoWorkers = random.chance(0.5);
  const broker = isMosquitto && means.mosquitto ? "mosquitto" : "embedded";
  // One process serves an embedded table; an embedded broker is its worker's.
  const workers = table !== "embedded" && broker === "mosquitto" && twoWorkers ? 2 : 1;
  const payloadMax = random.chance(0.2) ? random.pick([1024, 5000]) : undefined;
  const chores = random.chance(0.35);
  const count = random.between(2, 4);
  // Drawn apart, so that what older seeds decide stays as it was.
  const link = new Random(seed ^ 0x711b);
  const tls = link.chance(0.25), isFive = link.chance(0.2);
  const devices = Array.from({ length: count + (isFive ? 1 : 0) }, (_, i) => ({
    id: `d${i + 1}`,
    account: i === 3 ? "bolt" : "acme",
    // The embedded broker takes 3.1.1 alone.
    mqttVersion: link.chance(0.3) && broker === "mosquitto" ? 5 as const : 4 as const,
  }));
  const schema = makeSchema(random, random.between(3, 5));
  const apart = new Random(seed ^ 0x4e57);
  const next = random.chance(0.35) ? upgraded(random, schema, apart) : undefined;
  const cloudFirst = random.chance(0.5);
  const outboxMax = random.chance(0.15) ? random.between(100, 150) : undefined;
  const all = faultKinds.filter((kind) =>
    only.includes(kind) && !tableFaults.includes(kind) &&
    (kind !== "clock" || means.faketime) && (kind !== "disk" || means.disk) &&
    ((kind !== "upgrade" && kind !== "rollback") || next)
  );
  const chosen = shuffled(random, all).slice(0, random.between(2, 6));
  const faults = next && only.includes("upgrade") ? [...new Set<FaultKind>([...chosen, "upgrade"])] : chosen;
  const isEmbedded = table === "embedded", chance = isEmbedded ? apart : new Random(seed ^ 0x2e57);
  for (const kind of isEmbedded ? tableFaults : tableFaults.slice(0, 1)) {
    const isWanted = only === usualFaults ? chance.chance(0.3) : true;
    if (!only.includes(kind) || !isWanted) continue;
    // In the place of another: a round is not to take longer.
    const other = faults.findIndex((one) => ![...tableFaults, "upgrade", "rollback"].includes(one));
    if (faults.length > 3 && other >= 0) faults.splice(other, 1);
    faults.splice(apart.below(faults.length + 1), 0, kind);
  }
  return {
    ...{ seed, table, broker, workers, devices, tls, schema, cloudFirst, outboxMax, payloadMax, chores, faults, steps },
    next: faults.some((kind) => kind === "upgrade" || kind === "rollback") ? next : undefined,
  };
}

/** A plan in a few words. */
export function described({ table, broker, workers, devices, tls, faults, schema, outboxMax, chores }: Plan): string {
  const models = schema.models.map(({ name, sync, scope, policy }) => `${name}:${sync}/${scope}/${policy}`).join(" ");
  const five = devices.filter(({ mqttVersion }) => mqttVersion === 5).length;
  const link = `${tls ? " by TLS" : ""}${five > 0 ? ` (${five} by MQTT 5)` : ""}`;
  return `${table} table, ${broker} broker, ${workers} worker${
    workers > 1 ? "s" : ""
  }, ${devices.length} devices${link}, ` +
    `${chores ? "chores, " : ""}${outboxMax ? `outbox of ${outboxMax}, ` : ""}faults ${
      faults.join(",") || "none"
    }, models ${models}`;
}
