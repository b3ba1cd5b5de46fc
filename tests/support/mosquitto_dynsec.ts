/**
 * A Mosquitto that runs on exactly what `mod.ts broker config mosquitto` writes.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { until } from "./until.ts";
import { freePort, mosquittoMissing } from "./mosquitto.ts";
import { type Output, runMod } from "./mod.ts";

const plugins = ["x86_64", "aarch64"].map((arch) => `/usr/lib/${arch}-linux-gnu/mosquitto_dynamic_security.so`);
const plugin = plugins.find((path) => existsSync(path));

/** Why it can't be used here, or undefined. */
export const dynsecMissing: string | undefined = mosquittoMissing ??
  (plugin === undefined ? "no dynamic-security plugin of Mosquitto on this machine" : undefined);

/** A running one. */
export interface DynsecMosquitto extends AsyncDisposable {
  readonly devicePort: number;
  readonly workerPort: number;
  readonly worker: { readonly username: string; readonly password: string };
  readonly adminPasswordFile: string;
  readonly pid: number;
  /** `mod.ts device …` on its table, told to it as well. */
  device(...args: string[]): Promise<Output>;
}

/** Starts it with devices (`[device, account]`), whose tokens `tokens` gets. */
export async function startDynsec(
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
  const devicePort = await freePort(), workerPort = await freePort();
  const ports = ["--port", String(devicePort), "--worker-port", String(workerPort), "--plugin", plugin!];
  const made = await runMod("broker", "config", "mosquitto", ...table, "--out", `${dir}/mosquitto`, ...ports);
  if (made.code !== 0) throw new Error(made.stderr);
  const conf = `${dir}/mosquitto/mosquitto.conf`;
  // Started as root it would give that up for a user who can't read the files; as whoever runs the test it stays that.
  await Deno.writeTextFile(conf, `${Deno.uid() === 0 ? "user root\n" : ""}log_type error\n`, { append: true });
  const process = new Deno.Command("mosquitto", { args: ["-c", conf], stdout: "null", stderr: "null" }).spawn();
  const accepts = async (port: number) => {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    } catch {
      return false;
    }
  };
  await until("Mosquitto listens", async () => await accepts(devicePort) && await accepts(workerPort));
  const adminPasswordFile = `${dir}/mosquitto/admin-password`;
  const broker = ["--broker", `mqtt://127.0.0.1:${workerPort}`, "--broker-password-file", adminPasswordFile];
  return {
    devicePort,
    workerPort,
    worker: {
      username: "twintable-cloud",
      password: (await Deno.readTextFile(`${dir}/mosquitto/worker-password`)).trim(),
    },
    adminPasswordFile,
    pid: process.pid,
    device: (...args) => runMod("device", ...args, ...table, ...broker),
    async [Symbol.asyncDispose]() {
      process.kill("SIGTERM");
      await process.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}
