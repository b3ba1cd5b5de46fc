/**
 * What happens to a system while it is written to, and how all of it is over in the end.
 *
 * @module
 */
import type { Random } from "../../sim/random.ts";
import { type DiskFault, spoilDisk } from "../../support/bad_disk.ts";
import { networkFaults } from "../../support/chaos_proxy.ts";
import type { App } from "./apps.ts";
import { badLine } from "./logs.ts";
import type { FaultKind } from "./plan.ts";
import type { FuzzDevice, Part, System } from "./system.ts";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Ways a clock can be wrong, as faketime takes them. */
const offsets = ["+3600", "-7200", "+86400", "-31536000", "+0", "-30", "+45"] as const;

type Fault = (system: System, random: Random, apps: ReadonlyMap<string, readonly App[]>) => Promise<string>;

const faults: Record<FaultKind, Fault> = {
  async "kill-agent"(system, random) {
    const device = random.pick(system.devices), downMs = random.below(1500);
    await system.kill(device);
    await pause(downMs);
    await system.startAgent(device);
    return `kill -9 of ${device.id}`;
  },
  async "kill-worker"(system, random) {
    const worker = random.pick(system.workers), downMs = random.below(1500);
    await system.kill(worker);
    await pause(downMs);
    await system.startWorker(worker);
    return `kill -9 of ${worker.name}`;
  },
  async "kill-app"(_, random, apps) {
    for (let n = 0; n < 3; n++) {
      const [device, list] = random.pick([...apps]);
      list[random.below(list.length)]!.kill();
      await pause(random.below(150));
      void device;
    }
    return "kill -9 of applications";
  },
  "stop-agent": (system, random) => paused(system, random.pick(system.devices), 300 + random.below(3000)),
  "stop-worker": (system, random) => paused(system, random.pick(system.workers), 300 + random.below(3000)),
  async cut(system, random) {
    const at = random.below(system.proxies.length),
      fault = random.pick(networkFaults.filter((kind) => kind !== "corrupt"));
    system.proxies[at]!.inflict(fault);
    await pause(200 + random.below(2500));
    system.proxies[at]!.mend();
    return `${fault} on link ${at}`;
  },
  async broker(system, random) {
    await system.restartBroker(random.below(1000));
    return "kill -9 of the broker";
  },
  async clock(system, random) {
    const device = random.pick(system.devices), offset = random.pick(offsets);
    device.clock!.set(offset);
    await pause(random.below(1000));
    return `clock of ${device.id} at ${offset} s`;
  },
  async disk(system, random) {
    const device = random.pick(system.devices), fault = random.pick<DiskFault>(["full", "slow"]);
    const mended = await spoilDisk(device.program!.pid, fault);
    await pause(300 + random.below(1500));
    await mended();
    return `disk ${fault} under ${device.id}`;
  },
  async reopen(system, random) {
    const device = random.pick(system.devices);
    await system.end(device);
    await pause(random.below(500));
    await system.startAgent(device);
    return `${device.id} was ended and started`;
  },
  async upgrade(system, random) {
    const late = [...system.workers, ...system.devices].filter(({ version }) => version === "now");
    if (late.length === 0) return "nothing is left to upgrade";
    const isDone = (parts: readonly Part[]) => parts.every(({ version }) => version === "next");
    const [first, second] = system.plan.cloudFirst
      ? [system.workers, system.devices]
      : [system.devices, system.workers];
    const part = random.pick((isDone(first) ? second : first).filter(({ version }) => version === "now"));
    await change(system, part, "next");
    return `${part.name} has the next schema`;
  },
  async rollback(system, random) {
    const part = random.pick([...system.workers, ...system.devices]);
    await change(system, part, part.version === "next" ? "now" : "next");
    return `${part.name} has the schema ${part.version}`;
  },
  async restore(system, random) {
    const device = random.pick(system.devices), copy = `${system.dir}/older-${device.id}.db`;
    const isThere = await Deno.stat(copy).then(() => true, () => false);
    if (!isThere) {
      const { code, said } = await system.deviceCommand(["backup", "--to", copy, "--db", device.path]);
      if (code !== 0) system.journal.complain(`backup of ${device.id} ended with ${code}: ${said}`);
      return `backup of ${device.id}`;
    }
    await system.end(device);
    system.rolledBack.add(device.id);
    const { code, said } = await system.deviceCommand(["restore", "--from", copy, "--db", device.path, "--force"]);
    if (code !== 0) system.journal.complain(`restore of ${device.id} ended with ${code}: ${said}`);
    await system.startAgent(device);
    return `${device.id} has an older copy`;
  },
  async "table-restore"(system, random) {
    // The next write may have the copy's millisecond: the time that is given is a little earlier.
    const since = new Date(Date.now() - 1000).toISOString();
    await system.table.keep();
    await pause(1500 + random.below(2500));
    await system.restoreTable(since);
    return `the table is restored to ${since}`;
  },
  async "log-lost"(system) {
    await system.loseLog();
    return "the channel log is lost";
  },
  async commands(system, random) {
    const device = random.pick(system.devices), copy = `${system.dir}/copy-${random.below(1e9)}.db`;
    const command = random.pick([
      ["status", "--check"],
      ["verify", "--repair", "--timeout", "20"],
      ["backup", "--to", copy],
      ["aside", "retry"],
      ["conflicts", "list"],
      ["rejected", "list", "--json"],
    ]);
    const { code, said } = await system.deviceCommand([...command, "--db", device.path]);
    const bad = badLine(said);
    if (bad !== undefined || (code !== 0 && code !== 1)) {
      system.journal.complain(`${command.join(" ")} of ${device.id} ended with ${code}: ${bad ?? said}`);
    }
    return `${command.join(" ")} of ${device.id} ended with ${code}`;
  },
};

async function change(system: System, part: Part, version: Part["version"]): Promise<void> {
  await system.end(part);
  // What applications count on is what both versions have.
  part.known = "now";
  part.version = version;
  await start(system, part);
}

function start(system: System, part: Part): Promise<void> {
  return "token" in part ? system.startAgent(part as FuzzDevice) : system.startWorker(part);
}

async function paused(system: System, part: Part, ms: number): Promise<string> {
  system.pause(part, true);
  await pause(ms);
  system.pause(part, false);
  return `SIGSTOP of ${part.name}`;
}

/** Disturbs until the writers are done; at least each of the plan's faults once. */
export async function disturb(
  system: System,
  random: Random,
  apps: ReadonlyMap<string, readonly App[]>,
  isOver: () => boolean,
): Promise<void> {
  const { faults: kinds } = system.plan;
  for (let n = 0; kinds.length > 0 && (n < kinds.length || !isOver()); n++) {
    const what = await faults[kinds[n] ?? random.pick(kinds)](system, random, apps);
    system.journal.note("fault", { what });
    system.journal.count("faults");
    await pause(random.below(800));
  }
}

/** Everything works again, and has the schema's last version. */
export async function mend(system: System): Promise<void> {
  for (const proxy of system.proxies) proxy.mend();
  if (!system.plan.next) return;
  const order = system.plan.cloudFirst
    ? [...system.workers, ...system.devices]
    : [...system.devices, ...system.workers];
  for (const part of order) if (part.version === "now") await change(system, part, "next");
}
