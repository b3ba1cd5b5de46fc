/**
 * `compose.yaml` without an engine: its services as processes, each in its image's root (read-only, as the user that it names, with its
 * volumes), all in one network of their own, in the order of their conditions. What an image brings beside Twintable is taken from
 * this machine. DynamoDB Local runs as it is, from its package.
 *
 * @module
 */
import { cp, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { copyContext, copyPrograms, stages, wordsOf } from "./dockerfile.ts";
import { dynamodbLocalCommand } from "./dynamo.ts";
import { until } from "./until.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A service, as far as it is used. */
export interface Service {
  readonly image: string;
  readonly build?: { readonly context: string; readonly target: string };
  readonly user?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly privileged?: boolean;
  readonly network_mode?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly entrypoint?: readonly string[];
  readonly command: readonly string[];
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly restart: string;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

/** `compose.yaml`, anchors and merges resolved. */
export const compose = parse(await Deno.readTextFile(join(root, "compose.yaml")), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};

/** Services in an order in which each comes after those that it waits for. */
export function startOrder(services: Readonly<Record<string, Service>>): string[] {
  const order: string[] = [];
  const visit = (name: string, above: readonly string[]) => {
    if (above.includes(name)) throw new Error(`${[...above, name].join(" → ")}: a ring`);
    if (order.includes(name)) return;
    for (const other of Object.keys(services[name]!.depends_on ?? {})) visit(other, [...above, name]);
    order.push(name);
  };
  for (const name of Object.keys(services)) visit(name, []);
  return order;
}

/** Arguments: the root, the user, mounts as "SOURCE:TARGET:MODE" ended by "--", the command. */
const enter = `
root=$1 user=$2; shift 2
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
  source=$(echo "$1" | cut -d: -f1) target=$(echo "$1" | cut -d: -f2) mode=$(echo "$1" | cut -d: -f3)
  mount --bind "$source" "$root$target"
  [ "$mode" != ro ] || mount -o remount,bind,ro "$root$target"
  shift
done
shift
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" "$@"`;

interface Running {
  readonly child: Deno.ChildProcess;
  said: string;
}

/** The services of `compose.yaml`, running. */
export class Composed implements AsyncDisposable {
  readonly running = new Map<string, Running>();
  #network: Deno.ChildProcess | undefined;

  /** @param dir an empty folder that other users may enter */
  constructor(readonly dir: string, readonly binary: string, readonly etc: string) {}

  #image(name: string): string {
    return join(this.dir, "images", name.split(":")[0]!.replaceAll("/", "-"));
  }

  volume(name: string): string {
    return join(this.dir, "volumes", name);
  }

  /** Makes the images' roots, the volumes and the network. */
  async prepare(): Promise<void> {
    const cloud = this.#image("twintable-cloud"), agent = this.#image("twintable-agent");
    const mosquitto = this.#image("eclipse-mosquitto");
    const program = stages.get("agent")!.steps.join("\n").match(/COPY --from=compile \S+ \S+ (\S+)/)![1]!;
    await copyPrograms(agent, { [this.binary]: program });
    await copyPrograms(cloud, { [Deno.execPath()]: "/usr/bin/deno", "/bin/sh": "/bin/sh" });
    await copyContext(stages.get("cloud")!, join(cloud, "app"));
    await must(
      Deno.execPath(),
      [
        "cache",
        "--quiet",
        ...stages.get("cloud")!.steps.join("\n")
          .match(/deno cache (--frozen [^&]+)/)![1]!.trim().split(" "),
      ],
      join(cloud, "app"),
      {
        DENO_DIR: join(cloud, "app/.deno"),
      },
    );
    await must("chmod", ["-R", "a+rX", join(cloud, "app")]);
    const plugin = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"]
      .map((folder) => `${folder}/mosquitto_dynamic_security.so`).find(isFile);
    await copyPrograms(mosquitto, {
      "/usr/sbin/mosquitto": "/usr/sbin/mosquitto",
      [plugin!]: "/usr/lib/mosquitto_dynamic_security.so",
    });
    for (const image of [cloud, agent, mosquitto]) {
      for (const folder of ["data", "broker", "etc/twintable", "dev", "proc", "tmp"]) {
        await mkdir(join(image, folder), { recursive: true });
      }
      const names = Object.keys(compose.services).join(" ");
      await Deno.writeTextFile(join(image, "etc/hosts"), `127.0.0.1 localhost ${names}\n`);
      await Deno.writeTextFile(join(image, "etc/nsswitch.conf"), "hosts: files\n");
      await Deno.writeTextFile(join(image, "etc/passwd"), "twintable:x:1993:1993::/:/bin/sh\n");
    }
    for (const name of Object.keys(compose.volumes)) {
      await mkdir(this.volume(name), { recursive: true });
      // A new volume gets what its image has at that place: a folder of uid 1993.
      await Deno.chown(this.volume(name), 1993, 1993);
    }
    this.#network = new Deno.Command("unshare", {
      args: ["-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 1000"],
      stdout: "piped",
    }).spawn();
    const reader = this.#network.stdout.getReader();
    await reader.read();
    reader.releaseLock();
  }

  /** A command in the network of the services. */
  inNetwork(command: string, args: readonly string[], options: Deno.CommandOptions = {}): Deno.Command {
    const net = `--net=/proc/${this.#network!.pid}/ns/net`;
    return new Deno.Command("nsenter", {
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      ...options,
      args: [
        net,
        "--",
        command,
        ...args,
      ],
    });
  }

  /** A command in a service's container. */
  inside(name: string, words: readonly string[]): Deno.Command {
    const { image, user, volumes = [], environment = {} } = compose.services[name]!;
    const mounts = volumes.map((volume) => {
      const [source, target, mode = "rw"] = volume.split(":");
      return `${source!.startsWith(".") ? this.etc : this.volume(source!)}:${target}:${mode}`;
    });
    const stage = image.startsWith("twintable-") ? image.slice("twintable-".length) : undefined;
    const env: Record<string, string> = {
      PATH: "/usr/local/bin:/usr/sbin:/usr/bin:/bin",
      NO_COLOR: "1",
      ...environment,
    };
    const own: Record<string, string> = stage === "cloud" ? { DENO_DIR: "/app/.deno", DENO_NO_UPDATE_CHECK: "1" } : {};
    return this.inNetwork("unshare", [
      ...["-m", "sh", "-ec", enter, "sh", this.#image(image), user!, ...mounts, "--"],
      ...words,
    ], { clearEnv: true, env: { ...env, ...own } });
  }

  #wordsOf({ image, entrypoint, command }: Service): string[] {
    const stage = image.startsWith("twintable-") ? stages.get(image.slice("twintable-".length)) : undefined;
    return [...entrypoint ?? (stage ? wordsOf(stage, "ENTRYPOINT") : []), ...command];
  }

  /** Starts a service, and waits for what those that depend on it wait for. */
  async start(name: string): Promise<void> {
    const service = compose.services[name]!;
    const conditions = Object.values(compose.services).flatMap(({ depends_on }) => depends_on?.[name]?.condition ?? []);
    if (service.restart === "no") {
      const { code, stdout, stderr } = await this.inside(name, this.#wordsOf(service)).output();
      if (code !== 0) throw new Error(`${name}: ${text(stdout)}${text(stderr)}`);
      return;
    }
    const child = name === "dynamodb"
      ? await this.#dynamodb(service)
      : this.inside(name, this.#wordsOf(service)).spawn();
    const running = { child, said: "" };
    this.running.set(name, running);
    for (const stream of [child.stdout, child.stderr]) void follow(stream, (line) => running.said += line);
    if (conditions.includes("service_healthy")) {
      await until(`${name} is healthy`, async () => {
        if (await hasEnded(child)) throw new Error(`${name} ended: ${running.said}`);
        return await this.#answers(name);
      }, 60_000);
    }
  }

  async #dynamodb(service: Service): Promise<Deno.ChildProcess> {
    const { cwd, args } = await dynamodbLocalCommand();
    return this.inNetwork("java", [...args, service.command.at(-1)!], { cwd }).spawn();
  }

  /** As the images' own health checks, whose programs are not here: a port, or an answer by HTTP. */
  async #answers(name: string): Promise<boolean> {
    const check = compose.services[name]!.healthcheck!.test.join(" ");
    const url = check.match(/http:\S+/)?.[0], port = check.match(/(?:127\.0\.0\.1[: ])(\d+)/)![1];
    // DynamoDB Local accepts connections seconds before it answers.
    const look = url
      ? `await (await fetch("${url}")).body?.cancel()`
      : `(await Deno.connect({ hostname: "127.0.0.1", port: ${port} })).close()`;
    return (await this.inNetwork(Deno.execPath(), ["eval", "--no-config", look]).output()).success;
  }

  /** Whether the health check of a service's image passes. */
  async isHealthy(name: string): Promise<boolean> {
    const stage = stages.get(compose.services[name]!.image.slice("twintable-".length))!;
    return (await this.inside(name, wordsOf(stage, "HEALTHCHECK")).output()).success;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of [...this.running.values()].reverse()) {
      if (await hasEnded(child)) continue;
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await child.status;
      clearTimeout(late);
    }
    this.#network?.kill("SIGKILL");
    await this.#network?.status;
    await this.#network?.stdout.cancel();
  }
}

function hasEnded(child: Deno.ChildProcess): Promise<boolean> {
  return Promise.race([child.status.then(() => true), new Promise<false>((resolve) => setTimeout(resolve, 0, false))]);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

async function follow(stream: ReadableStream<Uint8Array>, to: (text: string) => void): Promise<void> {
  for await (const part of stream.pipeThrough(new TextDecoderStream())) to(part);
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

async function must(command: string, args: string[], cwd?: string, env?: Record<string, string>): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, cwd, env, stdout: "null" }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${text(stderr)}`);
}

/** A copy of the example's configuration, with certificates made by its script, as somebody who tries it has it. */
export async function exampleEtc(to: string): Promise<string> {
  await cp(join(root, dirname("examples/compose/etc/x")), to, { recursive: true });
  await must("sh", [join(root, "examples/compose/certificates.sh"), to]);
  return to;
}
