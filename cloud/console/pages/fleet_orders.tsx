/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Actions on many devices at once: orders and CSV. For more than 20 devices, the person must type the number, so that
 * one click does not disturb a fleet.
 *
 * @module
 */
import { ApiError } from "../../api/errors.ts";
import { queryFleet } from "../../api/devices.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { count, grouped } from "../format.ts";
import type { Routes } from "../mod.tsx";
import { orderTask } from "../order_tasks.ts";
import { FormToken, Problem } from "../parts.tsx";
import { hrefOf, viewOf } from "./fleet_query.ts";
import { startJob } from "./jobs.tsx";

/** Without the number, so many at once. */
const unaskedMax = 20;

/** Orders under way at a time. */
const atOnce = 16;

const actions = {
  looked: {
    word: "Mark as looked at:",
    about: "What they rejected and set aside until now is no trouble any more; it stays where it is.",
  },
  sync: { word: "Sync", about: "Each device asks the cloud for all its channels, which costs reads." },
  verify: { word: "Verify", about: "Each device compares its database with the table, which costs reads." },
} as const;

/** What is done to whom. */
export async function fleetOrders(routes: Routes, c: PageContext, form: FormData): Promise<Page | Response> {
  const { options } = routes, what = textOf(form, "do"), q = textOf(form, "q") ?? "", isAll = form.has("all");
  const { devices } = await queryFleet(options.fleet, { q: isAll ? q : "", limit: Number.MAX_SAFE_INTEGER });
  const ids = new Set(form.getAll("id").map(String));
  const chosen = isAll ? devices : devices.filter(({ deviceId }) => ids.has(deviceId));
  if (chosen.length === 0) throw new ApiError(400, "invalid", "No device is selected.");
  if (what === "csv") return csv(chosen);
  if (what !== "verify" && what !== "sync" && what !== "looked") {
    throw new ApiError(400, "invalid", "There is no such order.");
  }
  const confirmed = textOf(form, "confirm");
  if (chosen.length > unaskedMax && confirmed !== String(chosen.length)) {
    return confirmPage(c, { what, q, isAll, chosen, wrong: confirmed !== undefined });
  }
  if (what === "looked") {
    await options.fleet.attention?.look(chosen);
    return c.redirect(hrefOf(viewOf(new URLSearchParams(textOf(form, "view") ?? (isAll ? `q=${q}` : "")))), 303);
  }
  const away = chosen.filter(({ connected }) => connected !== true).length;
  return await startJob(routes, c, {
    title: `${actions[what].word} ${count(chosen.length, "device")}`,
    tasks: chosen.map((device) => orderTask(options, device, { do: what })),
    atOnce,
    back: { href: isAll && q ? `/fleet?${new URLSearchParams({ q })}` : "/fleet", name: "To the fleet" },
    note: away > 0
      ? `${count(away, "device is", "devices are")} not connected: the order waits for 7 days.`
      : undefined,
  });
}

function confirmPage(
  c: PageContext,
  { what, q, isAll, chosen, wrong }: {
    what: keyof typeof actions;
    q: string;
    isAll: boolean;
    chosen: readonly DeviceStanding[];
    wrong: boolean;
  },
): Page {
  return {
    title: "Confirm",
    status: wrong ? 400 : 200,
    body: (
      <>
        <div class="head">
          <div>
            <h1>{`${actions[what].word} ${count(chosen.length, "device")}?`}</h1>
            <p class="muted">{`${actions[what].about} Type the number to go on.`}</p>
          </div>
        </div>
        {wrong ? <Problem message="That is not the number." /> : null}
        <form method="post" action="/fleet/do" class="card pad form">
          <FormToken token={c.get("session").formToken} />
          <input type="hidden" name="do" value={what} />
          <input type="hidden" name="q" value={q} />
          {isAll
            ? <input type="hidden" name="all" value="1" />
            : chosen.map(({ deviceId }) => <input type="hidden" name="id" value={deviceId} />)}
          <p>
            <label for="confirm">{`Number of devices (${chosen.length})`}</label>
            <input id="confirm" name="confirm" inputmode="numeric" required autocomplete="off" autofocus />
          </p>
          <p class="acts">
            <button class="btn primary" type="submit">{`${actions[what].word} ${grouped(chosen.length)}`}</button>
            <a class="btn" href="/fleet" data-back>Cancel</a>
          </p>
        </form>
      </>
    ),
  };
}

/** All that a search finds, as CSV. */
export async function fleetCsv({ fleet }: ConsoleOptions, query: URLSearchParams): Promise<Response> {
  const q = query.get("q") ?? "", sort = query.get("sort") || "-worst";
  return csv((await queryFleet(fleet, { q, sort, limit: Number.MAX_SAFE_INTEGER })).devices);
}

const header =
  "device,account,state,why,connected,seen,outbox,lag_s,down_s,rejected,conflicts,aside,agent,schema,problem";

function csv(devices: readonly DeviceStanding[]): Response {
  const lines = devices.map(({ deviceId, accountId, state, why, connected, seenMs, lagMs, downMs, report }) =>
    [
      deviceId,
      accountId,
      state,
      why,
      connected,
      seenMs === undefined ? undefined : new Date(seenMs).toISOString(),
      report?.outbox,
      lagMs === undefined ? undefined : lagMs / 1000,
      downMs === undefined ? undefined : downMs / 1000,
      report?.rejected,
      report?.conflicts,
      report?.aside,
      report?.agent,
      report?.schema,
      report?.problem,
    ].map(csvCell).join(",")
  );
  return new Response([header, ...lines, ""].join("\r\n"), {
    headers: {
      "content-type": "text/csv; charset=utf-8",
      "content-disposition": 'attachment; filename="fleet.csv"',
    },
  });
}

/** Quoted where needed; a spreadsheet must not read a device's text as a formula. */
function csvCell(value: string | number | boolean | undefined): string {
  if (value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
