/**
 * Which side `data`, `export` and `import` work on: a device's database (`--db`) or a cloud (`--cloud`).
 *
 * @module
 */
import { type Flags, UsageError } from "../args.ts";
import { openCloudApi } from "../cloud_api.ts";
import { type DriverFlags, driverFlags, driverOf } from "../driver_flags.ts";
import { secretFlags, secretOf } from "../secret.ts";
import { CloudSide } from "./cloud_side.ts";
import { openDeviceSide } from "./device_side.ts";
import type { DataSide } from "./side.ts";

/** Flags for a cloud's HTTP API. */
export const cloudFlags = {
  cloud: { type: "string", value: "URL", summary: "the cloud's HTTP API" },
  ...secretFlags("token", "TOKEN", "its bearer token"),
  ca: { type: "string", value: "FILE", summary: "PEM: trusted certificate authorities" },
} as const satisfies Flags;

/** Flags of a command that works on either side. */
export const sideFlags = {
  db: { type: "string", value: "FILE", summary: "a device's database, with or without a running agent" },
  ...cloudFlags,
  device: { type: "string", value: "ID", summary: "cloud: items of this device only" },
  account: { type: "string", value: "ID", summary: "cloud: items of this account only" },
  ...driverFlags,
} as const satisfies Flags;

/** Values of {@link cloudFlags}. */
export interface CloudFlags {
  readonly cloud?: string;
  readonly token?: string;
  readonly "token-file"?: string;
  readonly ca?: string;
}

/** Values of {@link sideFlags}. */
export interface SideFlags extends CloudFlags, DriverFlags {
  readonly db?: string;
  readonly device?: string;
  readonly account?: string;
}

/** Opens the side that the flags name. @throws {UsageError}, {CommandError} */
export async function openSide(flags: SideFlags): Promise<DataSide> {
  if ((flags.db === undefined) === (flags.cloud === undefined)) {
    throw new UsageError("either --db FILE or --cloud URL is required");
  }
  if (flags.db === undefined) {
    const { device, account } = flags;
    return new CloudSide(await openCloudApi(flags.cloud!, { ca: flags.ca, token: await secretOf(flags, "token") }), {
      device,
      account,
    });
  }
  if (flags.device !== undefined || flags.account !== undefined) {
    throw new UsageError("--device and --account go with --cloud: a device has its own items");
  }
  return openDeviceSide(flags.db, await driverOf(flags));
}
