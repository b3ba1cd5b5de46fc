/**
 * A Mosquitto that runs on exactly what `mod.ts broker config mosquitto` writes.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { type Output, runMod } from "./mod.ts";
import { freePort, mosquittoMissing } from "./mosquitto.ts";
import { until } from "./until.ts";

const plugins = ["x86_64", "aarch64"].map((arch) => `/usr/lib/${arch}-linux-gnu/mosquitto_dynamic_security.so`);
/** Mosquitto's plugin on this machine; undefined: there is none. */
export const dynsecPlugin: string | undefined = plugins.find((path) => existsSync(path));

/** Why it can't be used here, or undefined. */
export const dynsecMissing: string | undefined = mosquittoMissing ??
  (dynsecPlugin === undefined ? "no dynamic-security plugin of Mosquitto on this machine" : undefined);

/** A running one. */
export interface DynsecMosquitto extends AsyncDisposable {
  readonly devicePort: number;
  readonly workerPort: number;
  readonly worker: { readonly username: string; readonly password: string };
  readonly workerPasswordFile: string;
  readonly adminPasswordFile: string;
  readonly pid: number;
  /** `mod.ts device …` on its table, told to it as well. */
  device(...args: string[]): Promise<Output>;
}

/** Whether something listens on a port of this machine. */
export async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

/** Starts it for the devices of a table; `table` is the flags that name it. Its files go to `dir`. */
export async function startDynsec(table: readonly string[], dir: string): Promise<DynsecMosquitto> {
  const devicePort = await freePort(), workerPort = await freePort();
  const ports = ["--port", String(devicePort), "--worker-port", String(workerPort), "--plugin", dynsecPlugin!];
  const made = await runMod("broker", "config", "mosquitto", ...table, "--out", dir, ...ports);
  if (made.code !== 0) throw new Error(made.stderr);
  const conf = `${dir}/mosquitto.conf`;
  // Started as root it would give that up for a user who can't read the files; as whoever runs the test it stays that.
  await Deno.writeTextFile(conf, `${Deno.uid() === 0 ? "user root\n" : ""}log_type error\n`, { append: true });
  const process = new Deno.Command("mosquitto", { args: ["-c", conf], stdout: "null", stderr: "null" }).spawn();
  await until("Mosquitto listens", async () => await accepts(devicePort) && await accepts(workerPort));
  const broker = ["--broker", `mqtt://127.0.0.1:${workerPort}`, "--broker-password-file", `${dir}/admin-password`];
  const workerPasswordFile = `${dir}/worker-password`;
  return {
    devicePort,
    workerPort,
    worker: { username: "twintable-cloud", password: (await Deno.readTextFile(workerPasswordFile)).trim() },
    workerPasswordFile,
    adminPasswordFile: `${dir}/admin-password`,
    pid: process.pid,
    device: (...args) => runMod("device", ...args, ...table, ...broker),
    async [Symbol.asyncDispose]() {
      process.kill("SIGTERM");
      await process.status;
    },
  };
}

/** A table of its own with devices (`[device, account]`), whose tokens `tokens` gets, and a Mosquitto for them. */
export async function startDynsecFor(
  devices: readonly (readonly [device: string, account: string])[],
  tokens: Map<string, string>,
): Promise<DynsecMosquitto> {
  const dir = await Deno.makeTempDir({ prefix: "twintable-dynsec-" });
  const table = ["--table", `embedded:${dir}/cloud.db`];
  for (const [device, account] of devices) {
    const { code, stdout, stderr } = await runMod("device", "add", device, "--account", account, ...table);
    if (code !== 0) throw new Error(stderr);
    tokens.set(device, stdout.trim());
  }
  const broker = await startDynsec(table, `${dir}/mosquitto`);
  return {
    ...broker,
    async [Symbol.asyncDispose]() {
      await broker[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    },
  };
}
