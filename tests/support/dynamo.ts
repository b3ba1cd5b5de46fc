/**
 * DynamoDB emulators for tests: dynoxide (a small native binary) and AWS's own DynamoDB Local (Java). Both come out of
 * published npm packages, through the machine's `npm`, into a cache folder outside of the repository.
 *
 * @module
 */
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { freePort } from "./mosquitto.ts";
import { missingTools, skipped } from "./tools.ts";
import { until } from "./until.ts";

/** An emulator that is running, with nothing in it. */
export interface Emulator {
  readonly name: "dynoxide" | "dynamodb-local";
  /** `http://127.0.0.1:PORT`. */
  readonly endpoint: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** An emulator that can be started here, or the reason why it can't. */
export interface EmulatorKind {
  readonly name: Emulator["name"];
  /** Why a test that needs it is skipped. Under `CI=true` a reason is thrown in place of being told. */
  readonly missing: string | undefined;
  start(): Promise<Emulator>;
}

const dynoxidePackage = `@dynoxide/${Deno.build.os}-${Deno.build.arch === "x86_64" ? "x64" : "arm64"}@1.2.1`;
/** Carries the jar of DynamoDB Local 1.25 (Java 17). */
const localPackage = "amplify-dynamodb-simulator@2.9.30";

/** Both emulators, fetched if they are not here yet. */
export async function emulators(): Promise<EmulatorKind[]> {
  return await Promise.all([dynoxide(), dynamodbLocal()]);
}

async function dynoxide(): Promise<EmulatorKind> {
  const name = "dynoxide";
  return await kindOf(name, async () => {
    const binary = join(await fetchPackage(dynoxidePackage), "dynoxide");
    return () => startProcess(name, (port) => ({ command: binary, args: ["serve", "--port", String(port)] }));
  });
}

async function dynamodbLocal(): Promise<EmulatorKind> {
  const name = "dynamodb-local";
  return await kindOf(name, async () => {
    const missing = missingTools("java");
    if (missing !== undefined) throw new Error(missing);
    await run("java", ["-version"]);
    const { cwd, args } = await dynamodbLocalCommand();
    return () => startProcess(name, (port) => ({ command: "java", args: [...args, String(port)], cwd }));
  });
}

/** The folder of DynamoDB Local, and what it is started with there; the port is given at last. */
export async function dynamodbLocalCommand(): Promise<{ cwd: string; args: string[] }> {
  const cwd = join(await fetchPackage(localPackage), "emulator");
  const fixed = [
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Djava.library.path=DynamoDBLocal_lib",
    "-DDDB_LOCAL_TELEMETRY=0",
  ];
  return { cwd, args: [...fixed, "-jar", "DynamoDBLocal.jar", "-inMemory", "-port"] };
}

async function kindOf(
  name: Emulator["name"],
  prepare: () => Promise<() => Promise<Emulator>>,
): Promise<EmulatorKind> {
  try {
    return { name, missing: undefined, start: await prepare() };
  } catch (cause) {
    const missing = `${name} can't be used here: ${(cause as Error).message}`;
    skipped(missing);
    return { name, missing, start: () => Promise.reject(new Error(missing)) };
  }
}

/** The unpacked package's folder. Several test processes may fetch at once: the last step is a rename. */
async function fetchPackage(spec: string): Promise<string> {
  const cache = join(Deno.env.get("XDG_CACHE_HOME") || join(homedir(), ".cache"), "twintable-emulators");
  const folder = join(cache, spec.replace(/[^a-z0-9.@-]/gi, "_"));
  if (await exists(join(folder, "package.json"))) return folder;
  await mkdir(cache, { recursive: true });
  const scratch = await mkdtemp(join(cache, "fetch-"));
  try {
    await run("npm", ["pack", "--silent", spec], scratch);
    const archive = [...Deno.readDirSync(scratch)].find((entry) => entry.name.endsWith(".tgz"));
    if (!archive) throw new Error(`npm brought no archive of ${spec}`);
    await run("tar", ["xzf", archive.name], scratch);
    await rename(join(scratch, "package"), folder).catch(async (cause) => {
      if (!await exists(join(folder, "package.json"))) throw cause;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return folder;
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}

async function run(command: string, args: string[], cwd?: string): Promise<string> {
  const options = { args, ...(cwd === undefined ? {} : { cwd }), stdout: "piped", stderr: "piped" } as const;
  const { success, stdout, stderr } = await new Deno.Command(command, options).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${decoder.decode(stderr).trim().split("\n").at(-1)}`);
  return decoder.decode(stdout);
}

async function startProcess(
  name: Emulator["name"],
  commandOf: (port: number) => { command: string; args: string[]; cwd?: string },
): Promise<Emulator> {
  const port = await freePort();
  const { command, args, cwd } = commandOf(port);
  const child = new Deno.Command(command, {
    args,
    ...(cwd === undefined ? {} : { cwd }),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  let ended = false;
  const status = child.status.then(() => ended = true);
  const stop = async () => {
    if (!ended) child.kill("SIGKILL");
    await status;
  };
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await until(`${name} answers on port ${port}`, async () => {
      if (ended) throw new Error(`${name} ended while it was starting`);
      return await listsTables(endpoint);
    }, 60_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return { name, endpoint, pid: child.pid, stop };
}

/** Whether it does its work: DynamoDB Local accepts connections seconds before. */
async function listsTables(endpoint: string): Promise<boolean> {
  const signer = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request";
  try {
    const response = await fetch(endpoint, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": "DynamoDB_20120810.ListTables",
        "authorization": `${signer}, SignedHeaders=host, Signature=0`,
        "x-amz-date": "20260101T000000Z",
      },
      body: "{}",
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    // Nobody listens yet.
    return false;
  }
}
