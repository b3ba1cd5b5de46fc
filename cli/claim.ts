/**
 * `twintable claim`: turns a claim code into this device's credentials, at the cloud's HTTP API. The device makes its token, or
 * its key, before it asks, and stores it durably under another name: what it has asked with once it asks with again, so that an
 * answer that was lost, or a crash, costs nothing, and the code is used by one device alone.
 *
 *     FILE.claim written ─▶ asked ─(yes)─▶ FILE
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync } from "node:fs";
import { writeWholeFile } from "../agent/credentials/whole_file.ts";
import { newKey, publicOf, requestFor } from "../agent/credentials/request.ts";
import { backoffMs } from "../protocol/backoff.ts";
import { pause } from "../protocol/within.ts";
import { checkId } from "../schema.ts";
import type { Flags, FlagValues } from "./args.ts";
import { UsageError } from "./args.ts";
import { type CloudApi, openCloudApi } from "./cloud_api.ts";
import { CommandError, defineCommand } from "./command.ts";
import { Lifetime } from "./lifetime.ts";
import { isLoopback, readSecret } from "./secret.ts";
import { say } from "./terminal.ts";

/** What a claim needs beside the code and the device. */
export interface ClaimOptions {
  readonly deviceId: string;
  /** The account that the device is to be of; another one is a mistake. Absent: whichever. */
  readonly accountId?: string;
  readonly cloud: string;
  readonly ca?: string;
  readonly insecure: boolean;
  /** Either this, */
  readonly passwordFile?: string;
  /** or both of these. */
  readonly cert?: string;
  readonly key?: string;
}

/** Waits between tries, for a network that is not there yet. */
const again = { firstMs: 1_000, maxMs: 60_000 };

/** @throws {UsageError} for flags that don't fit together, or a way on which others would read the code and the token */
export function checkClaim({ cloud, insecure, passwordFile, cert, key }: ClaimOptions): void {
  if ((cert === undefined) !== (key === undefined)) throw new UsageError("--cert and --key go together");
  if ((cert === undefined) === (passwordFile === undefined)) {
    throw new UsageError("a claim needs --password-file FILE, or --cert FILE and --key FILE, for what it gets");
  }
  if (passwordFile === "-") throw new UsageError("a claim writes --password-file: it can't be standard input");
  const url = URL.canParse(cloud) ? new URL(cloud) : undefined;
  if (url?.protocol === "http:" && !isLoopback(url.hostname) && !insecure) {
    throw new UsageError(
      `--cloud ${url.origin} would send the credentials in the clear: use https://, or say --insecure where the network is trusted`,
    );
  }
}

/** Whether the device has its credentials. */
export function hasCredentials({ passwordFile, cert, key }: ClaimOptions): boolean {
  return passwordFile === undefined ? existsSync(cert!) && existsSync(key!) : existsSync(passwordFile);
}

/**
 * Claims the credentials and writes their files. Where the cloud can't be reached, or is busy, it is tried again until the
 * signal aborts.
 *
 * @returns false: the signal came first
 * @throws {CommandError} where the code is refused, or a file can't be written
 */
export async function claim(code: string, options: ClaimOptions, signal: AbortSignal): Promise<boolean> {
  using api = await openCloudApi(options.cloud, { ca: options.ca });
  const { deviceId, passwordFile, cert, key } = options;
  const draft = `${passwordFile ?? key!}.claim`;
  const secret = drafted(
    draft,
    passwordFile === undefined ? newKey : () => `${randomBytes(32).toString("base64url")}\n`,
  );
  const shown = passwordFile === undefined ? { csr: requestFor(deviceId, secret) } : { token: secret.trim() };
  const answer = await asked(api, { code, device: deviceId, ...shown }, signal);
  if (!answer) return false;
  if (options.accountId !== undefined && answer.account !== options.accountId) {
    throw new CommandError(`the code is of the account "${answer.account}", not of "${options.accountId}"`);
  }
  if (passwordFile === undefined) {
    if (typeof answer.certificate !== "string" || publicOf(answer.certificate) !== publicOf(secret)) {
      throw new CommandError("the cloud answered without a certificate for this key");
    }
    writeWholeFile(cert!, answer.certificate);
  }
  renameSync(draft, passwordFile ?? key!);
  return true;
}

/** What is asked with: made once. */
function drafted(path: string, make: () => string): string {
  try {
    if (!existsSync(path)) writeWholeFile(path, make());
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new CommandError(`${path} can't be written: ${(cause as Error).message}`, { cause });
  }
}

interface Answer {
  readonly account?: unknown;
  readonly certificate?: unknown;
  readonly error?: { readonly message?: string };
}

/** Asks until there is an answer. @throws {CommandError} where it is a refusal */
async function asked(api: CloudApi, body: object, signal: AbortSignal): Promise<Answer | undefined> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      const { status, body: answer } = await api.request("/api/claim", { method: "POST", body, answers: [429, 503] });
      if (status === 404) throw new CommandError("this cloud knows no claim codes: update it");
      if (status < 300) return answer as Answer;
      say(`claim: ${(answer as Answer).error?.message ?? `status ${status}`}; it is tried again`);
    } catch (error) {
      // Nobody is there yet: a device that is switched on may be earlier than its network.
      if (!(error instanceof CommandError) || !/can't be reached/.test(error.message)) throw error;
      say(`claim: ${error.message}; it is tried again`);
    }
    await pause(backoffMs(attempt, Math.random, again), signal);
  }
  return undefined;
}

const flags = {
  device: { type: "string", value: "ID", summary: "this device", required: true },
  account: { type: "string", value: "ID", summary: "the account that it is to be of; another one is refused" },
  cloud: { type: "string", value: "URL", summary: "the cloud's HTTP API, https://HOST", required: true },
  "password-file": { type: "string", value: "FILE", summary: "where its token goes (0600)" },
  cert: { type: "string", value: "FILE", summary: "in its place: where its certificate goes" },
  key: { type: "string", value: "FILE", summary: "and its private key (0600), which stays here" },
  ca: { type: "string", value: "FILE", summary: "PEM: trusted certificate authorities" },
  insecure: { type: "boolean", summary: "send the code and the token over http:// to another machine, in the clear" },
} as const satisfies Flags;

/** The options that flags say. */
function claimOptions(given: FlagValues<typeof flags>): ClaimOptions {
  const { device, account, cloud, ca, insecure, "password-file": passwordFile, cert, key } = given;
  return { deviceId: device, accountId: account, cloud, ca, insecure, passwordFile, cert, key };
}

/** The `claim` command. */
export const claimCommand = defineCommand({
  name: "claim",
  summary: "turn a claim code into this device's credentials",
  usage: ["CODE|- --device ID --cloud URL (--password-file FILE | --cert FILE --key FILE)"],
  about: [
    "mod.ts device claim-code gives the code; - reads it from standard input. It is good for one device, which may show it\n" +
    "again where the answer was lost. Where the files are there, nothing is done. While the cloud can't be reached it is\n" +
    "tried again.",
  ],
  flags,
  operands: [1, 1],
  async run({ flags, operands, print }) {
    const options = claimOptions(flags);
    checkId("device", options.deviceId);
    checkClaim(options);
    if (hasCredentials(options)) {
      print(`${options.passwordFile ?? options.cert} is there already: nothing is claimed`);
      return 0;
    }
    const code = operands[0] === "-" ? await readSecret("claim", "-") : operands[0]!;
    using lifetime = new Lifetime();
    if (!await claim(code, options, lifetime.signal)) throw new CommandError("the claim was broken off");
    print(`${options.passwordFile ?? `${options.cert}, ${options.key}`}: the credentials of ${options.deviceId}`);
    return 0;
  },
});
