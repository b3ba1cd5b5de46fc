/**
 * Links to the console's pages, which commands print beside what they say: only where a console answers. Its address is the
 * one of `--cloud`, or of `TWINTABLE_CONSOLE`, or the one that `dev` wrote into its folder, beside the databases.
 *
 * A link is a help: whatever is in its way (no permission, no answer in time) leaves it out, and nothing else.
 *
 * @module
 */
import { dirname, join } from "node:path";
import type { Driver } from "../agent/sqlite/driver.ts";
import { readDevice } from "./device_file.ts";

/** The variable. */
export const consoleVariable = "TWINTABLE_CONSOLE";
/** The file in the folder of `dev`. */
const fileName = "console.url";
/** A console on this machine answers within some ms; a link is not worth more. */
const answerMs = 700;

/** Where to look. */
export interface ConsolePlace {
  /** The API's address. */
  readonly cloud?: string;
  /** A database in the folder of `dev`, or the folder's `cloud.db`. */
  readonly db?: string;
}

/** The file in which `dev` writes where its console is. */
export function consoleFile(dir: string): string {
  return join(dir, fileName);
}

/** The address of a console that answers, without a slash at its end; undefined: none does. */
export async function consoleAt(place: ConsolePlace): Promise<string | undefined> {
  const given = place.cloud ?? await fromVariable() ?? await fromFolder(place.db);
  const url = given === undefined ? undefined : URL.parse(given.trim());
  // Behind a path its own links would lead elsewhere.
  if (!url || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.username !== "") return undefined;
  return await answers(url) ? url.origin : undefined;
}

/** A line with the page of a device's file, or of what it keeps; none where no console answers. */
export async function linkLines(
  path: string,
  driver: Driver,
  tab?: "rejected" | "conflicts" | "aside",
): Promise<string[]> {
  const at = await consoleAt({ db: path });
  if (at === undefined) return [];
  const device = readDevice(path, (db) => String(db.prepare("SELECT device FROM _status").get()!.device), driver);
  return [`console    ${devicePage(at, device, tab)}`];
}

/** A device's page, or a part of it. */
export function devicePage(base: string, deviceId: string, tab?: "rejected" | "conflicts" | "aside"): string {
  return `${base}/devices/${encodeURIComponent(deviceId)}${tab === undefined ? "" : `?tab=${tab}`}`;
}

async function may(descriptor: Deno.PermissionDescriptor): Promise<boolean> {
  return (await Deno.permissions.query(descriptor)).state === "granted";
}

async function fromVariable(): Promise<string | undefined> {
  if (!await may({ name: "env", variable: consoleVariable })) return undefined;
  return Deno.env.get(consoleVariable) || undefined;
}

async function fromFolder(db: string | undefined): Promise<string | undefined> {
  if (db === undefined) return undefined;
  const file = consoleFile(dirname(db));
  if (!await may({ name: "read", path: file })) return undefined;
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) return undefined;
    throw error;
  }
}

/** The start of a console leads to its first page. */
async function answers(url: URL): Promise<boolean> {
  if (!await may({ name: "net", host: url.host })) return false;
  try {
    const response = await fetch(new URL("/", url), { redirect: "manual", signal: AbortSignal.timeout(answerMs) });
    await response.body?.cancel();
    return response.status === 302 && /^\/(twin|fleet)$/.test(response.headers.get("location") ?? "");
  } catch {
    // Any fault of the network: nobody answers there.
    return false;
  }
}
