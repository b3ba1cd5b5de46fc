/**
 * A client of the cloud's HTTP API for commands: for a URL that may have a path (behind a proxy), trusting the
 * certificates in `--ca`. An error says why it failed.
 *
 * @module
 */
import { withoutSecrets } from "../protocol/log.ts";
import { UsageError } from "./args.ts";
import { CommandError } from "./command.ts";
import { readFlagFile } from "./connection.ts";

/** How the API is reached. */
export interface CloudApiFlags {
  readonly token?: string;
  /** A PEM file of certificate authorities. */
  readonly ca?: string;
}

/** An answer of the API. */
export interface CloudAnswer {
  readonly status: number;
  readonly body: unknown;
  /** The server's time. */
  readonly date?: Date;
}

/** A request to the API. */
export interface CloudRequest {
  /** Default GET. */
  readonly method?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Statuses, other than 2xx and 404, that count as answers. */
  readonly answers?: readonly number[];
  /** The answer is a text of any form. */
  readonly text?: true;
}

/** @throws {UsageError} if that is not a URL of an API; {CommandError} if the authorities can't be read */
export async function openCloudApi(url: string, { token, ca }: CloudApiFlags): Promise<CloudApi> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol)) {
    throw new UsageError(`--cloud is not an http URL: ${withoutSecrets(url)}`);
  }
  if (parsed.search || parsed.hash) {
    throw new UsageError(`--cloud is a URL without ? and #, not ${withoutSecrets(url)}`);
  }
  if (parsed.username || parsed.password) {
    throw new UsageError(`--cloud ${withoutSecrets(url)}: give --token-file instead of a name and a password`);
  }
  const caCerts = ca === undefined ? undefined : [await readFlagFile("ca", ca)];
  return new CloudApi(url.replace(/\/+$/, ""), token, caCerts && Deno.createHttpClient({ caCerts }));
}

/** An error's message, and those of what caused it: `fetch failed` alone is useless. */
function reasonOf(error: unknown): string {
  const reasons: string[] = [];
  for (let one = error; one instanceof Error && reasons.length < 4; one = one.cause) {
    if (!reasons.some((known) => known.includes((one as Error).message))) reasons.push(one.message);
  }
  return reasons.join(": ");
}

/** The API. Use with `using`. */
export class CloudApi implements Disposable {
  constructor(
    /** Without a slash at its end. */
    private readonly base: string,
    private readonly token: string | undefined,
    private readonly client: Deno.HttpClient | undefined,
  ) {}

  /** Asks for a path; with a body it is posted. @throws as {@link CloudApi.request} */
  call(path: string, body?: unknown): Promise<CloudAnswer> {
    return this.request(path, body === undefined ? {} : { method: "POST", body });
  }

  /**
   * Sends a request. Status 404 counts as an answer, and so do those in `answers`.
   *
   * @throws {CommandError} if the API can't be reached, or refuses
   */
  async request(
    path: string,
    { method = "GET", body, headers = {}, answers = [], text }: CloudRequest,
  ): Promise<CloudAnswer> {
    let response: Response;
    try {
      response = await fetch(this.base + path, {
        method,
        headers: {
          "content-type": "application/json",
          ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(this.client && { client: this.client }),
      });
    } catch (cause) {
      throw new CommandError(`${this.base} can't be reached: ${reasonOf(cause)}`, { cause });
    }
    const { status } = response,
      content = await response.text(),
      answer = (text ? content : jsonOf(content)) as { error?: { message?: string } } | undefined;
    if (!response.ok && status !== 404 && !answers.includes(status)) {
      throw new CommandError(`${this.base}${path}: ${answer?.error?.message ?? `status ${status}`}`);
    }
    // A proxy's page, or another program's API.
    if (answer === undefined) throw new CommandError(`${this.base}${path} is not an API of a cloud: status ${status}`);
    const date = Date.parse(response.headers.get("date") ?? "");
    return { status, body: answer, ...(Number.isNaN(date) ? {} : { date: new Date(date) }) };
  }

  /** All devices. */
  async devices(): Promise<{ deviceId: string; connected?: boolean }[]> {
    const all: { deviceId: string; connected?: boolean }[] = [];
    let next: string | undefined;
    do {
      const path = `/api/devices?limit=1000${next === undefined ? "" : `&next=${next}`}`;
      const { status, body } = await this.call(path);
      const page = body as { devices?: { deviceId: string; connected?: boolean }[]; next?: string };
      if (status !== 200 || !Array.isArray(page.devices)) {
        throw new CommandError(`${this.base} is not an API of a cloud`);
      }
      all.push(...page.devices);
      next = page.next;
    } while (next !== undefined);
    return all;
  }

  [Symbol.dispose](): void {
    this.client?.close();
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined;
  }
}
