/**
 * Chaos on the real system: processes, sockets, disks and clocks of a running fleet are disturbed at random, one thing after
 * the other, while applications write on both sides. In the end every write must be accounted for, and both sides be equal.
 *
 * It runs for half a minute; `TWINTABLE_CHAOS_SECONDS` makes it longer. `TWINTABLE_CHAOS_SEED` repeats the choices of a run (not its
 * timing, which is the machine's).
 */
import assert from "node:assert/strict";
import { Random } from "../sim/random.ts";
import { badDiskMissing, type DiskFault, spoilDisk } from "../support/bad_disk.ts";
import { type NetworkFault, networkFaults } from "../support/chaos_proxy.ts";
import { type ChaosDevice, chaosMissing, ChaosSystem } from "../support/chaos_system.ts";
import { statusOf } from "../support/device.ts";
import { query } from "../support/sql.ts";
import { skipped, toolsMissing } from "../support/tools.ts";
import { until } from "../support/until.ts";

const chaosMs = Number(Deno.env.get("TWINTABLE_CHAOS_SECONDS") ?? 30) * 1000;
const seed = Number(Deno.env.get("TWINTABLE_CHAOS_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
/** What heals has this long to come to rest: workers take over leases, agents try again after a minute at most. */
const restMs = 120_000;
const ignore = toolsMissing("faketime", "python3") || skipped(chaosMissing);
const diskMissing = ignore ? undefined : await badDiskMissing();

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** What applications have committed, by device: the last value of each name, and all samples. */
class Written {
  readonly samples = new Set<number>();
  readonly settings = new Map<string, number>();
  readonly commands = new Map<string, number>();
  /** Of all values written to the account's shared items. */
  readonly sites = new Set<number>();
}

/** An application that writes until it is stopped. */
class Application {
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(everyMs: number, random: Random, write: (n: number) => Promise<void>) {
    this.#done = (async () => {
      for (let n = 1; !this.#stopped; n++) {
        await write(n);
        await pause(everyMs * 2 * random.next());
      }
    })();
    // Its failure is the test's when it is stopped, not before.
    this.#done.catch(() => {});
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return this.#done;
  }
}

/** Writes on a device, in SQL, from a process that has the device's clock; only what was committed is noted. */
async function writeOnDevice({ app, path, deviceId }: ChaosDevice, n: number, written: Written): Promise<void> {
  const value = n * 10 + Number(deviceId.slice(1)), name = `k${n % 7}`;
  const upsert = (model: string) =>
    `INSERT INTO ${model}(name, value) VALUES ('${name}', ${value}) ON CONFLICT(name) DO UPDATE SET value = excluded.value`;
  const statements = [`INSERT INTO Sample(id, n) VALUES ('s${value}', ${value})`, upsert("Setting"), upsert("Site")];
  const errors = await app.run("python3", path, statements);
  assert.deepEqual(errors, [], `an application's write on ${deviceId} failed`);
  written.samples.add(value);
  written.settings.set(name, value);
  written.sites.add(value);
}

/** One disturbance, for a while; what it was. */
type Disturbance = (system: ChaosSystem, random: Random) => Promise<string>;

const network: Disturbance = async (system, random) => {
  const at = random.below(3), fault = random.pick<NetworkFault>(networkFaults);
  // What an emulator takes for a request is damaged in no field: there the link is encrypted, or the request is signed.
  if (at === 0 && fault === "corrupt") return "";
  system.proxies[at]!.inflict(fault);
  await pause(300 + random.below(3000));
  system.proxies[at]!.mend();
  return `${fault} before ${["the table", "the broker, devices", "the broker, workers"][at]}`;
};

const stopped: Disturbance = async (system, random) => {
  const { pid, name } = random.pick([
    ...system.devices.map(({ agent, deviceId }) => ({ pid: agent.pid, name: `the agent ${deviceId}` })),
    ...system.workers.map(({ pid }, i) => ({ pid, name: `worker ${i}` })),
    { pid: system.broker.pid, name: "the broker" },
    { pid: system.emulator.pid, name: "the table" },
  ]);
  Deno.kill(pid, "SIGSTOP");
  await pause(300 + random.below(4000));
  Deno.kill(pid, "SIGCONT");
  return `SIGSTOP of ${name}`;
};

const killed: Disturbance = async (system, random) => {
  switch (random.below(4)) {
    case 0:
      await system.killBroker(random.below(1500));
      return "SIGKILL of the broker, which forgets";
    case 1: {
      const at = random.below(system.workers.length);
      await system.killWorker(at);
      return `SIGKILL of worker ${at}`;
    }
    default: {
      const device = random.pick(system.devices);
      await system.killAgent(device);
      return `SIGKILL of the agent ${device.deviceId}`;
    }
  }
};

const disk: Disturbance = async (system, random) => {
  if (diskMissing !== undefined) return "";
  const device = random.pick(system.devices), fault = random.pick<DiskFault>(["full", "slow"]);
  const mend = await spoilDisk(device.agent.pid, fault);
  await pause(500 + random.below(2500));
  await mend();
  return `disk ${fault} under the agent ${device.deviceId}`;
};

const time: Disturbance = async (system, random) => {
  const { clock, deviceId } = random.pick(system.devices), offset = random.pick(["+3600", "-7200", "+86400", "+0"]);
  clock.set(offset);
  await pause(1500);
  return `clock of ${deviceId} at ${offset} s`;
};

/** The first round has each of them once, in this order; then they come at random. */
const disturbances: readonly Disturbance[] = [network, killed, disk, stopped, time];

async function disturb(system: ChaosSystem, random: Random): Promise<Map<string, number>> {
  const done = new Map<string, number>(), endMs = performance.now() + chaosMs;
  for (let n = 0; performance.now() < endMs || n < disturbances.length; n++) {
    const what = await (disturbances[n] ?? random.pick([...disturbances, network, network]))(system, random);
    if (what === "") continue;
    done.set(what, (done.get(what) ?? 0) + 1);
    await pause(random.below(400));
  }
  return done;
}

const compared = ["Setting", "Site", "Command"] as const;

/** What differs between a device and the table; undefined: nothing, and nothing is under way. */
async function differs(system: ChaosSystem, { path, deviceId }: ChaosDevice): Promise<string | undefined> {
  const status = statusOf(path);
  if (status.outbox !== 0 || status.inflight !== 0) {
    return `${deviceId} has sent not everything: ${JSON.stringify(status)}`;
  }
  for (const model of compared) {
    const rows = query(path, `SELECT name, value FROM ${model} ORDER BY name`);
    const items = (await system.items(model, deviceId)).map(({ name, value }) => ({ name, value }))
      .sort((a, b) => String(a.name) < String(b.name) ? -1 : 1);
    const [here, there] = [JSON.stringify(rows), JSON.stringify(items)];
    if (here !== there) return `${deviceId} ${model}: ${here} here, ${there} in the table`;
  }
}

/** Every write of an application is in the table, or superseded by a later one of the same key, or kept in the open. */
async function accounted(system: ChaosSystem, device: ChaosDevice, written: Written): Promise<void> {
  const { deviceId, path } = device;
  const samples = new Set((await system.items("Sample", deviceId)).map(({ n }) => Number(n)));
  assert.deepEqual([...written.samples].filter((n) => !samples.has(n)), [], `samples of ${deviceId} are lost`);
  assert.equal(samples.size, written.samples.size, `samples of ${deviceId} that nobody wrote`);
  for (const [model, last] of [["Setting", written.settings], ["Command", written.commands]] as const) {
    const rows = new Map(query(path, `SELECT name, value FROM ${model}`).map(({ name, value }) => [name, value]));
    for (const [name, value] of last) assert.equal(rows.get(name), value, `${model} ${name} of ${deviceId}`);
  }
  for (const table of ["_conflicts", "_rejected"]) {
    assert.deepEqual(query(path, `SELECT * FROM ${table} WHERE model <> 'Site'`), [], `${table} of ${deviceId}`);
  }
}

Deno.test({
  name: "chaos: on the real system nothing is lost and everything converges",
  ignore,
  async fn() {
    const random = new Random(seed), written = new Map<string, Written>();
    const repeat = `TWINTABLE_CHAOS_SEED=${seed} TWINTABLE_CHAOS_SECONDS=${
      chaosMs / 1000
    } deno test -A tests/e2e/chaos_test.ts`;
    console.log(`chaos: ${repeat}`);
    await using system = await new ChaosSystem(() => random.next()).open();
    const applications: Application[] = [];
    for (const device of system.devices) {
      const own = new Written();
      written.set(device.deviceId, own);
      const pace = new Random(seed + applications.length + 1);
      applications.push(new Application(25, pace, (n) => writeOnDevice(device, n, own)));
      applications.push(
        new Application(40, pace, async (n) => {
          const name = `c${n % 9}`;
          await system.put("Command", device.deviceId, { name, value: n });
          own.commands.set(name, n);
        }),
      );
    }
    const done = await disturb(system, random);
    for (const proxy of system.proxies) proxy.mend();
    await Promise.all(applications.map((application) => application.stop()));
    for (const [what, count] of [...done].sort()) console.log(`  ${count} × ${what}`);
    try {
      let found: string | undefined = "nothing was looked at";
      await until("both sides are equal", async () => {
        for (const device of system.devices) {
          found = await differs(system, device);
          if (found !== undefined) {
            await pause(200);
            return false;
          }
        }
        return true;
      }, restMs).catch((cause) => {
        throw new Error(`no rest: ${found}`, { cause });
      });
      const sites = new Set((await system.items("Site", "d1")).map(({ value }) => Number(value)));
      for (const device of system.devices) {
        const own = written.get(device.deviceId)!;
        await accounted(system, device, own);
        for (const value of own.sites) sites.delete(value);
      }
      assert.deepEqual([...sites], [], "sites have values that nobody wrote");
    } catch (error) {
      for (const { agent, deviceId } of system.devices) {
        console.error(`agent ${deviceId}: ${agent.stderr.slice(-2000)}`);
      }
      for (const worker of system.workers) console.error(`worker: ${worker.stderr.slice(-2000)}`);
      throw new Error(`chaos, to be repeated with: ${repeat}`, { cause: error });
    }
  },
});
