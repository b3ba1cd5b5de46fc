/**
 * A real Mosquitto for tests: a process of its own on free ports, with the options and access rules of
 * `docs/mosquitto.conf` and `docs/mosquitto.acl`.
 *
 * @module
 */
import { pbkdf2Sync, randomBytes, randomInt } from "node:crypto";
import net from "node:net";
import mqtt from "mqtt";
import { topics } from "../../protocol.ts";
import { missingTools } from "./tools.ts";
import { until } from "./until.ts";

/** A device that may log in. */
export interface MosquittoDevice {
  readonly deviceId: string;
  readonly accountId: string;
  readonly token: string;
}

/** Options of {@link startMosquitto}. */
export interface MosquittoOptions {
  readonly devices: readonly MosquittoDevice[];
  readonly internal: { readonly username: string; readonly password: string };
  /** Default `tt`. */
  readonly prefix?: string;
  /** PEM texts: the devices' listener then speaks TLS, and with `workers` the workers' as well. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string; readonly workers?: boolean };
  /** Lines of its configuration for all listeners; those of the same name here give way. */
  readonly settings?: readonly string[];
  /** Topics that the access rules forget to let devices publish on. */
  readonly without?: readonly ("up" | "sync")[];
  /** Default: free ports. Given to start it again where it was. */
  readonly devicePort?: number;
  readonly workerPort?: number;
}

/** A running Mosquitto. */
export interface Mosquitto {
  /** For devices: the user name takes the place of the client id. */
  readonly devicePort: number;
  readonly workerPort: number;
  readonly pid: number;
  /** Lets one more device in; resolves when it can log in. */
  add(device: MosquittoDevice): Promise<void>;
  stop(): Promise<void>;
}

/** Why Mosquitto can't be used here, or undefined. A test that needs it is skipped with this reason. */
export const mosquittoMissing: string | undefined = missingTools("mosquitto");

/**
 * A port that was free a moment ago. It is below those that a system gives to connections (Linux: from 32,768): beside tests
 * that open thousands of them, one of those would soon be taken again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once(
      "error",
      (cause: NodeJS.ErrnoException) => cause.code === "EADDRINUSE" ? resolve(false) : reject(cause),
    );
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** A line of a Mosquitto password file, as `mosquitto_passwd` makes it: PBKDF2 with SHA-512, here with few iterations. */
function passwordLine(username: string, password: string): string {
  const salt = randomBytes(12);
  const hash = pbkdf2Sync(password, salt, 101, 64, "sha512");
  return `${username}:$7$101$${salt.toString("base64")}$${hash.toString("base64")}`;
}

function accessRules({ devices, internal, prefix, without = [] }: MosquittoOptions): string {
  const topic = topics(prefix);
  const own = (kind: "up" | "sync" | "presence" | "down") => topic[kind]("u").replace("/u/", "/%u/");
  return [
    `user ${internal.username}`,
    `topic readwrite ${prefix ?? "tt"}/#`,
    ...(["up", "sync"] as const).filter((kind) => !without.includes(kind)).map((kind) => `pattern write ${own(kind)}`),
    `pattern write ${own("presence")}`,
    `pattern read ${own("down")}`,
    `pattern read ${topic.all}`,
    ...devices.flatMap(({ deviceId, accountId }) => [`user ${deviceId}`, `topic read ${topic.account(accountId)}`]),
    "",
  ].join("\n");
}

async function answers(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

/** Whether a device's password is known by now. */
async function letsIn(port: number, { deviceId, token }: MosquittoDevice, ca: string | undefined): Promise<boolean> {
  try {
    const client = await mqtt.connectAsync(`${ca ? "mqtts" : "mqtt"}://127.0.0.1:${port}`, {
      username: deviceId,
      password: token,
      reconnectPeriod: 0,
      ...(ca ? { ca } : {}),
    });
    await client.endAsync(true);
    return true;
  } catch {
    // Refused: the new file has not been read yet.
    return false;
  }
}

/** Starts Mosquitto; resolves when both listeners accept connections. */
export async function startMosquitto(options: MosquittoOptions): Promise<Mosquitto> {
  const dir = await Deno.makeTempDir({ prefix: "twintable-mosquitto-" });
  // Mosquitto gives up root for another user, who must be able to read these.
  await Deno.chmod(dir, 0o755);
  const file = async (name: string, text: string) => {
    await Deno.writeTextFile(`${dir}/${name}`, text);
    return `${dir}/${name}`;
  };
  const devicePort = options.devicePort ?? await freePort();
  const workerPort = options.workerPort ?? await freePort();
  const { tls, internal } = options;
  const devices = [...options.devices];
  const accounts = async () => {
    const users = [...devices.map(({ deviceId, token }) => [deviceId, token]), [internal.username, internal.password]];
    const passwords = users.map(([name, password]) => passwordLine(name!, password!)).join("\n") + "\n";
    return {
      passwords: await file("passwd", passwords),
      rules: await file("acl", accessRules({ ...options, devices })),
    };
  };
  const { passwords, rules } = await accounts();
  const certificates = tls
    ? [
      `cafile ${await file("ca.crt", tls.ca)}`,
      `certfile ${await file("server.crt", tls.cert)}`,
      `keyfile ${await file("server.key", tls.key)}`,
    ]
    : [];
  const config = await file(
    "mosquitto.conf",
    [
      "allow_anonymous false",
      `password_file ${passwords}`,
      `acl_file ${rules}`,
      `listener ${devicePort} 127.0.0.1`,
      ...certificates,
      "use_username_as_clientid true",
      `listener ${workerPort} 127.0.0.1`,
      ...(tls?.workers ? certificates : []),
      "set_tcp_nodelay true",
      "max_inflight_messages 1000",
      "max_queued_messages 100000",
      "max_queued_bytes 67108864",
      ...(options.settings ?? ["message_size_limit 1048576"]),
      "persistence false",
      "log_type error",
      "",
    ].join("\n"),
  );
  const process = new Deno.Command("mosquitto", { args: ["-c", config], stdout: "null", stderr: "null" }).spawn();
  let exited = false;
  const status = process.status.then((status) => {
    exited = true;
    return status;
  });
  const deadline = performance.now() + 10_000;
  while (!(await answers(devicePort) && await answers(workerPort))) {
    if (exited || performance.now() > deadline) {
      if (!exited) process.kill("SIGKILL");
      throw new Error(`mosquitto did not start: ${JSON.stringify(await status)}, its files are in ${dir}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    devicePort,
    workerPort,
    pid: process.pid,
    async add(device) {
      devices.push(device);
      await accounts();
      process.kill("SIGHUP");
      await until(`Mosquitto lets ${device.deviceId} in`, () => letsIn(devicePort, device, tls?.ca));
    },
    async stop() {
      if (!exited) process.kill("SIGTERM");
      await status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}
