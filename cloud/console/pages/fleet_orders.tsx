/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * What is done with many devices at once: orders and CSV. Above 20 devices the number is asked for, so that nobody disturbs a
 * fleet by one click.
 *
 * @module
 */
import { ApiError } from "../../api/errors.ts";
import { queryFleet } from "../../api/devices.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { count, grouped } from "../format.ts";
import { FormToken, Problem } from "../parts.tsx";
import { deviceHref } from "./fleet_columns.tsx";

/** Without the number, so many at once. */
const unaskedMax = 20;

/** What is done to whom. */
export async function fleetOrders(options: ConsoleOptions, c: PageContext, form: FormData): Promise<Page | Response> {
  const what = textOf(form, "do"), q = textOf(form, "q") ?? "", isAll = form.has("all");
  const { devices } = await queryFleet(options.fleet, { q: isAll ? q : "", limit: Number.MAX_SAFE_INTEGER });
  const ids = new Set(form.getAll("id").map(String));
  const chosen = isAll ? devices : devices.filter(({ deviceId }) => ids.has(deviceId));
  if (chosen.length === 0) throw new ApiError(400, "invalid", "No device is selected.");
  if (what === "csv") return csv(chosen);
  if (what !== "verify") throw new ApiError(400, "invalid", "There is no such order.");
  const confirmed = textOf(form, "confirm");
  if (chosen.length > unaskedMax && confirmed !== String(chosen.length)) {
    return confirmPage(c, { what, q, isAll, chosen, wrong: confirmed !== undefined });
  }
  const { service } = options;
  if (!service) throw new ApiError(503, "config", "Nothing is published here: a publisher is missing.");
  const done: { readonly deviceId: string; readonly result: string }[] = [];
  for (const { deviceId, connected } of chosen) {
    if (!connected) {
      done.push({ deviceId, result: "is not connected: ask again when it is" });
      continue;
    }
    try {
      await service.requestVerify(deviceId, { repair: false });
      done.push({ deviceId, result: "asked" });
    } catch (error) {
      done.push({ deviceId, result: error instanceof Error ? error.message : String(error) });
    }
  }
  return donePage(done);
}

function confirmPage(
  c: PageContext,
  { what, q, isAll, chosen, wrong }: {
    what: string;
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
            <h1>{`Verify ${count(chosen.length, "device")}?`}</h1>
            <p class="muted">Each compares its database with the table, which costs reads. Type the number to go on.</p>
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
            <button class="btn primary" type="submit">{`Verify ${grouped(chosen.length)}`}</button>
            <a class="btn" href="/fleet" data-back>Cancel</a>
          </p>
        </form>
      </>
    ),
  };
}

function donePage(done: readonly { readonly deviceId: string; readonly result: string }[]): Page {
  const asked = done.filter(({ result }) => result === "asked").length;
  return {
    title: "Verify",
    body: (
      <>
        <div class="head">
          <div>
            <h1>{`${count(asked, "device")} ${asked === 1 ? "was" : "were"} asked to verify`}</h1>
            <p class="muted">
              Reports stand on the devices' pages.
            </p>
          </div>
        </div>
        <div class="card scroll" tabindex={0} role="region" aria-label="Results">
          <table>
            <thead>
              <tr>
                <th scope="col">Device</th>
                <th scope="col">Result</th>
              </tr>
            </thead>
            <tbody data-rows>
              {done.slice(0, 500).map(({ deviceId, result }) => (
                <tr data-row>
                  <td>
                    <a class="mono" data-open href={deviceHref(deviceId)}>{deviceId}</a>
                  </td>
                  <td>{result}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <p class="after">
          <a href="/fleet">To the fleet</a>
        </p>
      </>
    ),
  };
}

/** All that a search finds, as CSV. */
export async function fleetCsv({ fleet }: ConsoleOptions, query: URLSearchParams): Promise<Response> {
  const q = query.get("q") ?? "", sort = query.get("sort") || "-worst";
  return csv((await queryFleet(fleet, { q, sort, limit: Number.MAX_SAFE_INTEGER })).devices);
}

const header = "device,account,state,why,connected,seen,outbox,lag_s,rejected,conflicts,aside,agent,schema,problem";

function csv(devices: readonly DeviceStanding[]): Response {
  const lines = devices.map(({ deviceId, accountId, state, why, connected, seenMs, lagMs, report }) =>
    [
      deviceId,
      accountId,
      state,
      why,
      connected,
      seenMs === undefined ? undefined : new Date(seenMs).toISOString(),
      report?.outbox,
      lagMs === undefined ? undefined : lagMs / 1000,
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

/** Quoted where needed; a spreadsheet must not take a device's words for a formula. */
function csvCell(value: string | number | boolean | undefined): string {
  if (value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
