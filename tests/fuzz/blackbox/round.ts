/**
 * A round: start the system of a plan, let everybody write while it is disturbed, mend it, wait until both sides are equal,
 * and account for every write.
 *
 * @module
 */
import { Random } from "../../sim/random.ts";
import type { Emulator } from "../../support/dynamo.ts";
import { account, type Fates } from "./account.ts";
import type { App } from "./apps.ts";
import { differences, type Finding } from "./compare.ts";
import { disturb, mend } from "./faults.ts";
import { Journal } from "./journal.ts";
import { badLine } from "./logs.ts";
import { type DeviceState, readDevice, type TableState, tableState } from "./observe.ts";
import type { Means, Plan } from "./plan.ts";
import { System } from "./system.ts";
import { appsOf, prepareDevice, runApi, runApp, runRaw } from "./writers.ts";

/** What came of a round. */
export interface Result {
  readonly plan: Plan;
  readonly findings: readonly Finding[];
  readonly fates: Fates;
  readonly counts: Readonly<Record<string, number>>;
  readonly seconds: number;
}

/** What heals has this long to come to rest: a removal waits for 30 s, a worker takes over a lease, an agent asks again. */
const restMs = 150_000;

/** Looks at a system whose processes have all ended, and at the deeds: for the tests of the accounts. */
export type Inspection = (system: System) => Promise<void>;

const running = new Set<System>();

/** Ends the processes of every round that runs: for a fuzzer that is interrupted. Applications end with their input. */
export function abandonRounds(): void {
  for (const system of running) system.abandon();
}

/** Runs a round in a folder. */
export async function runRound(
  plan: Plan,
  dir: string,
  means: Means,
  emulator: Emulator | undefined,
  inspect?: Inspection,
): Promise<Result> {
  const began = performance.now(), random = new Random(plan.seed ^ 0x5eed);
  const journal = new Journal(`${dir}/journal.jsonl`);
  Deno.writeTextFileSync(`${dir}/plan.json`, JSON.stringify(plan, null, 1));
  await using system = new System(plan, dir, journal, means, emulator, () => random.next());
  let findings: Finding[] = [], fates: Fates = {};
  running.add(system);
  try {
    await system.open();
    await write(system, random);
    await mend(system);
    const audited = await audit(system, await rest(system));
    fates = audited.fates;
    Deno.writeTextFileSync(`${dir}/table.json`, JSON.stringify([...audited.table.history], null, 1));
    findings = [...audited.findings, ...await verified(system)];
    for (const part of [...system.devices, ...system.workers]) await system.end(part);
    if (findings.length === 0) await inspect?.(system);
  } catch (error) {
    findings.push({ kind: "failed", sentence: (error as Error).stack ?? String(error) });
  } finally {
    running.delete(system);
  }
  system.writeLogs();
  findings.push(...processes(system));
  findings.push(...journal.complaints.map((sentence) => ({ kind: "complaint", sentence })));
  return { plan, findings, fates, counts: journal.counts, seconds: (performance.now() - began) / 1000 };
}

async function write(system: System, random: Random): Promise<void> {
  const apps = new Map<string, App[]>(), work: Promise<void>[] = [];
  for (const device of system.devices) {
    const list = appsOf(device);
    apps.set(device.id, list);
    await prepareDevice(device, list[0]!);
    for (const app of list) work.push(runApp(system, device, app, random.below(2 ** 31)));
  }
  work.push(runApi(system, random.below(2 ** 31)), runRaw(system, random.below(2 ** 31)));
  let isOver = false;
  const written = Promise.all(work).finally(() => isOver = true);
  // Its failure is told when the disturbance is over.
  written.catch(() => {});
  await disturb(system, random, apps, () => isOver);
  await written;
  for (const list of apps.values()) for (const app of list) await app.close();
}

interface Rest {
  readonly devices: DeviceState[];
  readonly table: TableState;
  readonly findings: Finding[];
}

/** What device and table are now, and what is wrong with that by itself. */
export async function look(system: System): Promise<Rest> {
  const schema = system.plan.next ?? system.plan.schema,
    models = schema.models.filter(({ enable }) => enable !== "cloud");
  const devices = system.devices.map((device) => readDevice(device, models, schema.iso));
  const table = tableState(await system.table.items(), []);
  const findings = devices.flatMap((device) => [
    ...underWay(device),
    ...unexplained(device),
    ...differences(schema, device, table, Date.now()),
  ]);
  return { devices, table, findings };
}

/** The accounts of what was found. */
export async function audit(system: System, { devices, table, findings }: Rest) {
  const { plan, journal } = system;
  const whole = tableState([...table.items.values()], await system.table.history());
  const accounts = account({
    devices,
    table: whole,
    deeds: { ...journal, times: plan.faults.includes("clock") ? undefined : journal.times },
    schema: plan.next ?? plan.schema,
    nowMs: Date.now(),
    rolledBack: system.rolledBack,
    lost: system.lost.map((versions) => tableState([], versions).history),
    logLost: system.logLost,
  });
  return {
    table: whole,
    fates: accounts.fates,
    findings: [...findings, ...accounts.findings],
  };
}

/** Waits until nothing is under way and both sides are equal; what is not by then. */
async function rest(system: System): Promise<Rest> {
  const deadline = performance.now() + restMs;
  for (let wait = 300;; wait = Math.min(2000, wait * 1.5)) {
    const found = await look(system);
    if (found.findings.length === 0 || performance.now() > deadline) {
      system.journal.note("rest", { differences: found.findings.length });
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function underWay({ id, status }: DeviceState): Finding[] {
  const { outbox, inflight } = status;
  if (outbox === 0 && inflight === 0) return [];
  return [{ kind: "stalled", sentence: `${id} still has ${outbox} entries in its outbox: ${JSON.stringify(status)}` }];
}

/** A problem that stands for no reason that can be seen, and a damaged file. */
function unexplained({ id, status, integrity, aside, kept }: DeviceState): Finding[] {
  const found: Finding[] = [], problem = status.problem as string | null;
  const isExplained = (sentence: string) =>
    (aside.size > 0 && /aside list/.test(sentence)) ||
    (kept.some(({ table }) => table === "_rejected") && /rejected/.test(sentence));
  const rest = (problem ?? "").split("; ").filter((sentence) => sentence !== "" && !isExplained(sentence));
  if (rest.length > 0) found.push({ kind: "problem", sentence: `${id} says at rest: ${problem}` });
  if (integrity !== "ok") found.push({ kind: "damaged", sentence: `${id}: integrity_check says ${integrity}` });
  return found;
}

/** `verify` of each device, by the product itself. */
async function verified(system: System): Promise<Finding[]> {
  const schema = system.plan.next ?? system.plan.schema, found: Finding[] = [];
  const models = schema.models.filter(({ sync, enable }) => enable === "both" && (sync === "both" || sync === "down"));
  if (models.length === 0) return [];
  const names = models.map(({ name }) => name).join(",");
  await Promise.all(system.devices.map(async (device) => {
    const args = ["verify", "--db", device.path, "--model", names, "--timeout", "60", "--json"];
    const { code, printed, said } = await system.deviceCommand(args);
    system.journal.note("verify", { device: device.id, code, said });
    if (code === 0 || (code === 1 && onlySetAside(printed))) return;
    found.push({ kind: "verify", sentence: `verify of ${device.id} ended with ${code}: ${said.slice(0, 1500)}` });
  }));
  return found;
}

/** What is set aside differs, and is counted in the open. */
function onlySetAside(report: string): boolean {
  const { found = [] } = JSON.parse(report) as { found?: { what: string }[] };
  return found.length > 0 && found.every(({ what }) => what === "set aside");
}

/** Processes that ended by themselves, and what no log may have. */
function processes(system: System): Finding[] {
  const found: Finding[] = [];
  for (const { name, program, told } of system.lives) {
    if (!told && program.exited) {
      const end = (program.stdout + program.stderr).slice(-500);
      found.push({ kind: "ended", sentence: `${name} ended by itself with ${program.exited.code}: ${end}` });
    }
    const bad = badLine(program.stdout + "\n" + program.stderr);
    if (bad !== undefined) found.push({ kind: "log", sentence: `${name} said: ${bad}` });
  }
  return found;
}
