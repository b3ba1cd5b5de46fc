/**
 * `mod.ts device list`: a line for each device.
 *
 * @module
 */
import type { DeviceInfo, Registry } from "../cloud/sync/registry.ts";

function dateOf(ms: number): string {
  return new Date(ms).toISOString();
}

function endOf(what: string, ms: number | undefined): string[] {
  return ms === undefined ? [] : [`${what}${ms > Date.now() ? "expires" : "expired"} ${dateOf(ms)}`];
}

function lineOf(device: DeviceInfo): string {
  const { deviceId, accountId, createdMs, seenMs, connected, untilMs, beforeUntilMs, certificateUntilMs } = device;
  const seen = seenMs === undefined ? "never seen" : `seen ${dateOf(seenMs)}`;
  return [
    deviceId,
    `account ${accountId}`,
    `added ${dateOf(createdMs).slice(0, 10)}`,
    connected ? "connected" : seen,
    ...endOf("", untilMs),
    ...endOf("certificate ", certificateUntilMs),
    ...(beforeUntilMs !== undefined && beforeUntilMs > Date.now() ? [`old token until ${dateOf(beforeUntilMs)}`] : []),
  ].join("  ");
}

/** Prints all devices. */
export async function listDevices(registry: Registry, print: (line: string) => void): Promise<void> {
  let after: string | undefined, count = 0;
  do {
    const page = await registry.list({ after });
    count += page.devices.length;
    for (const device of page.devices) print(lineOf(device));
    after = page.next;
  } while (after !== undefined);
  if (count === 0) print("no devices; add one with device add DEVICE --account ID");
}
