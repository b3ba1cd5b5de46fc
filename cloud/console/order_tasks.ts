/**
 * Orders to devices, as tasks of a job: given, and waited for where the device is there. What is not connected gets its order
 * all the same, and carries it out when it comes.
 *
 * @module
 */
import type { Ordered } from "../../protocol.ts";
import { ApiError } from "../api/errors.ts";
import type { DeviceStanding } from "../sync/fleet.ts";
import type { OrderContent, Orders } from "../sync/orders.ts";
import type { ConsoleOptions } from "./context.ts";
import { count, grouped } from "./format.ts";
import type { Outcome, Task } from "./jobs.ts";

/** A device that says nothing for longer is left to itself: the order stands. */
const silentMs = 15_000;
/** One that says how far it is is waited for, but not for ever. */
const patienceMs = 300_000;
/** Where an answer comes to another instance and nobody tells, it is looked for in the table. */
const lookEveryMs = 1_000;

/** The way to devices. @throws ApiError 503 where nothing is published here */
export function ordersOf({ service }: ConsoleOptions): Orders {
  if (!service) throw new ApiError(503, "config", "This server can't send orders: it has no publisher.");
  return service.orders;
}

/** An order as a task. @param label what it is about, beside the device */
export function orderTask(options: ConsoleOptions, device: DeviceStanding, content: OrderContent, label = ""): Task {
  return {
    deviceId: device.deviceId,
    label,
    run: (progress, signal) => order(options, device, content, progress, signal),
  };
}

/** Gives an order, and waits for what comes of it. */
async function order(
  options: ConsoleOptions,
  device: DeviceStanding,
  content: OrderContent,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  // Before it is given: the answer may be there first.
  const answers = new Answers(ordersOf(options), device.deviceId);
  try {
    const { id, outcome } = await giveOrder(options, device, content);
    return outcome ?? await outcomeOf(answers, id!, content, progress, signal);
  } finally {
    answers[Symbol.dispose]();
  }
}

/** Gives an order. @returns its id where it is under way, or what else there is to say of it */
export async function giveOrder(
  options: ConsoleOptions,
  { deviceId, connected, report }: DeviceStanding,
  content: OrderContent,
): Promise<
  { readonly id: string; readonly outcome?: Outcome } | { readonly id?: undefined; readonly outcome: Outcome }
> {
  const orders = ordersOf(options), understands = report?.orders === 1;
  if (connected === true && !understands && content.do === "verify") {
    // An agent from before there were orders knows this one question.
    await options.service!.requestVerify(deviceId, { repair: content.repair ?? false });
    return { outcome: { state: "done", text: "asked; the result comes to the device's page" } };
  }
  const id = await orders.give(deviceId, content);
  if (connected !== true) return { id, outcome: { state: "later", text: "not connected: runs when it connects" } };
  if (understands) return { id };
  const text = `agent ${report?.agent ?? "of an older version"} knows no orders: update it`;
  return { id, outcome: { state: "later", text } };
}

async function outcomeOf(
  answers: Answers,
  id: string,
  content: OrderContent,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  const began = performance.now();
  let heard = began, last = "";
  for (;;) {
    const answer = await answers.next(id, lookEveryMs), now = performance.now();
    if (answer?.state === "done") return { state: "done", text: reportText(content, answer.report) };
    if (answer?.state === "failed") return { state: "failed", text: failureText(answer.report) };
    const text = answer ? JSON.stringify(answer.report) : last;
    if (text !== last) {
      heard = now;
      last = text;
      progress(content.do === "verify" || content.id === undefined ? reportText(content, answer!.report, true) : "");
    }
    if (signal.aborted) return { state: "later", text: "sent before the job was cancelled: see the device's page" };
    if (now - heard > silentMs || now - began > patienceMs) {
      return { state: "later", text: "sent; the device has not said that it is done: see its page" };
    }
  }
}

/** What a device says of its orders: as it comes, and from the table where it came elsewhere. */
class Answers implements Disposable {
  readonly #latest = new Map<string, Ordered>();
  readonly #release: () => void;
  #wake = () => {};

  constructor(private readonly orders: Orders, private readonly deviceId: string) {
    this.#release = orders.listen((from, answer) => {
      if (from !== deviceId) return;
      this.#latest.set(answer.order, answer);
      this.#wake();
    });
  }

  /** The latest of an order, once there is another, or after so long. */
  async next(order: string, waitMs: number): Promise<Pick<Ordered, "state" | "report"> | undefined> {
    if (!this.#latest.has(order)) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, waitMs);
      });
      clearTimeout(timer);
    }
    const heard = this.#latest.get(order);
    this.#latest.delete(order);
    if (heard) return heard;
    const stored = (await this.orders.list(this.deviceId)).find((one) => one.order === order);
    return stored && stored.state !== "waiting" ? { state: stored.state, report: stored.report ?? {} } : undefined;
  }

  [Symbol.dispose](): void {
    this.#release();
    this.#wake();
  }
}

/** What a device says of an order that is done; of one that is under way, how far it is. */
export function reportText(
  content: Pick<OrderContent, "do" | "id">,
  report: Readonly<Record<string, unknown>>,
  isUnderWay = false,
): string {
  const done = numberIn(report, "done");
  switch (content.do) {
    case "sync":
      return isUnderWay ? "catching up" : "has all that the cloud has";
    case "verify":
      return verifyText(report) || "compares";
    case "drop":
      if (content.id !== undefined) return done === 0 ? "was gone already" : "dropped";
      return done === undefined ? "drops" : `${grouped(done)} dropped`;
    default:
      if (done === undefined) return isUnderWay ? "under way" : "is tried again";
      return content.id === undefined ? putBackText(report, done) : "put back as a new change";
  }
}

function verifyText(report: Readonly<Record<string, unknown>>): string {
  const differences = numberIn(report, "differences");
  if (differences === undefined) return "";
  const mended = numberIn(report, "mended"), unsettled = numberIn(report, "unsettled");
  const differ = `${count(differences, "key")} ${differences === 1 ? "differs" : "differ"}`;
  return joined(
    `${count(numberIn(report, "rows") ?? 0, "row")} compared`,
    differences === 0 ? "both sides are equal" : differ,
    mended ? `${grouped(mended)} mended` : "",
    unsettled ? `${grouped(unsettled)} had changes under way` : "",
  );
}

function putBackText(report: Readonly<Record<string, unknown>>, done: number): string {
  const failed = numberIn(report, "failed"), [reason] = Array.isArray(report.reasons) ? report.reasons : [];
  const why = reason === undefined ? "" : ` (${bare(reason)})`;
  return joined(`${grouped(done)} put back`, failed ? `${grouped(failed)} refused${why}` : "");
}

function numberIn(report: Readonly<Record<string, unknown>>, name: string): number | undefined {
  return typeof report[name] === "number" ? report[name] as number : undefined;
}

function joined(...parts: readonly string[]): string {
  return parts.filter((part) => part !== "").join(", ");
}

/** Why it failed, in the device's words. */
export function failureText(report: Readonly<Record<string, unknown>>): string {
  const [first] = Array.isArray(report.reasons) ? report.reasons : [];
  return first === undefined ? String(report.reason ?? "the device could not") : bare(first);
}

/** A reason without the number before it. */
function bare(reason: unknown): string {
  return String(reason).replace(/^\d+: /, "");
}
