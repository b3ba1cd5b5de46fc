/**
 * What a device keeps for people, asked from the device itself: nothing of it is in the cloud. It answers within two seconds,
 * or is away; then the command that shows it on the device is told.
 *
 * @module
 */
import type { KeptName } from "../../protocol.ts";
import type { Orders } from "../sync/orders.ts";
import type { DeviceInfo } from "../sync/registry.ts";
import { ApiError } from "./errors.ts";

/** Rows that an answer has at most. */
export const keptRowsMax = 100;

/** Which of them. */
export interface KeptQuestion {
  readonly table: KeptName;
  /** Of this model only. */
  readonly model?: string;
  /** After this number. */
  readonly after?: number;
  /** So many at most. */
  readonly limit: number;
}

/** The device can't be asked now: how to look there. */
export class AwayError extends ApiError {
  constructor(readonly why: string, readonly command: string) {
    super(504, "away", `${why}: on the device, ${command} shows it`);
  }

  override get details(): Readonly<Record<string, unknown>> {
    return { command: this.command };
  }
}

/**
 * Asks. The answer is the device's own JSON: rows of it are checked by whoever uses them.
 *
 * @param file what the command names as the device's database
 * @throws AwayError where it can't be asked, or does not answer; ApiError 502 where it could not look
 */
export async function askKept(
  orders: Pick<Orders, "ask">,
  deviceId: string,
  info: Pick<DeviceInfo, "connected" | "report"> | undefined,
  { table, model, after, limit }: KeptQuestion,
  file = "FILE",
): Promise<Readonly<Record<string, unknown>>> {
  const away = (why: string) => new AwayError(why, `twintable ${table} list --db ${file}`);
  if (info?.report && info.report.orders !== 1) {
    throw away(`not understood by agent ${info.report.agent ?? "of an older version"}`);
  }
  if (info?.connected === false) throw away("the device is not connected");
  const answer = await orders.ask(deviceId, {
    do: "kept",
    table,
    limit: Math.min(limit, keptRowsMax),
    ...(after === undefined ? {} : { after }),
    ...(model === undefined ? {} : { model }),
  });
  if (!answer) throw away("the device did not answer within 2 s");
  if (answer.state === "failed") {
    throw new ApiError(502, "failed", String(answer.report.reason ?? "the device could not"));
  }
  return answer.report;
}
