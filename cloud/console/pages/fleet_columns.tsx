/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The columns of the fleet's table: what each shows, and by which field it sorts.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { DeviceStanding } from "../../sync/fleet.ts";
import { duration, grouped, unknown } from "../format.ts";
import { State, Time } from "../parts.tsx";
import { deviceKeptHref } from "./kept_query.ts";

/** A column. */
export interface Column {
  readonly id: string;
  readonly label: string;
  readonly title?: string;
  /** The field of `sort`. */
  readonly sort?: string;
  readonly number?: boolean;
  /** Whether the first sort by it puts the greatest first. */
  readonly down?: boolean;
  /** The class of its cells. */
  readonly class?: string;
  cell(device: DeviceStanding, now: number): Child;
}

/** A count: unknown is not zero, and a zero is quiet. */
function Count({ of, href }: { of: number | undefined; href?: string }) {
  if (!of) return <span class="muted">{grouped(of)}</span>;
  return href ? <a href={href}>{grouped(of)}</a> : <>{grouped(of)}</>;
}

/** Where a device's page is. */
export function deviceHref(deviceId: string, anchor = ""): string {
  return `/devices/${encodeURIComponent(deviceId)}${anchor}`;
}

export const columns: readonly Column[] = [
  { id: "state", label: "State", sort: "worst", down: true, class: "s", cell: ({ state }) => <State of={state} /> },
  {
    id: "device",
    label: "Device",
    sort: "device",
    class: "d",
    cell: ({ deviceId }) => <a class="mono dev" data-open href={deviceHref(deviceId)}>{deviceId}</a>,
  },
  { id: "account", label: "Account", sort: "account", class: "a", cell: ({ accountId }) => accountId },
  {
    id: "agent",
    label: "Agent",
    sort: "agent",
    class: "x",
    cell: ({ report }) => <span class="muted">{report?.agent ?? unknown}</span>,
  },
  {
    id: "schema",
    label: "Schema",
    sort: "schema",
    class: "x",
    cell: ({ report }) => (
      <span class="muted mono" title={report?.schema}>{report?.schema?.slice(0, 8) ?? unknown}</span>
    ),
  },
  {
    id: "seen",
    label: "Seen",
    sort: "seen",
    number: true,
    class: "seen",
    cell: ({ seenMs }, now) => <Time at={seenMs} now={now} />,
  },
  {
    id: "outbox",
    label: "Outbox",
    sort: "outbox",
    number: true,
    down: true,
    class: "o",
    cell: ({ report }) => <Count of={report?.outbox} />,
  },
  {
    id: "lag",
    label: "Lag ↑",
    title: "How long its oldest change has waited to go up",
    sort: "lag",
    number: true,
    down: true,
    class: "l",
    cell: ({ lagMs, report }) =>
      lagMs === undefined ? <span class="muted">{report?.outbox === 0 ? "0 s" : unknown}</span> : duration(lagMs),
  },
  {
    id: "down",
    label: "Lag ↓",
    title:
      "How long the first entry that it lacks had waited for it when it last told its position; now, if it is away",
    sort: "down",
    number: true,
    down: true,
    class: "l",
    cell: ({ downMs }) => downMs ? duration(downMs) : <span class="muted">{downMs === 0 ? "0 s" : unknown}</span>,
  },
  {
    id: "rejected",
    label: "Rejected",
    sort: "rejected",
    number: true,
    down: true,
    class: "r",
    cell: ({ report, deviceId }) => <Count of={report?.rejected} href={deviceKeptHref("rejected", deviceId)} />,
  },
  {
    id: "conflicts",
    label: "Conflicts",
    sort: "conflicts",
    number: true,
    down: true,
    class: "c",
    cell: ({ report, deviceId }) => <Count of={report?.conflicts} href={deviceKeptHref("conflicts", deviceId)} />,
  },
  {
    id: "problem",
    label: "Problem",
    sort: "problem",
    class: "prob",
    cell: ({ state, why, seenMs, usualMs, overdue }, now) =>
      state === "silent"
        ? (
          <span class={overdue ? "warn" : "muted"}>
            {seenMs === undefined ? "never seen" : (
              <>
                since <Time at={seenMs} now={now} />
                {overdue ? ", longer than the usual " : ", usual up to "}
                {duration(usualMs)}
              </>
            )}
            {why ? `: ${why}` : ""}
          </span>
        )
        : why
        ? <span class={state === "trouble" ? "bad" : "warn"} title={why}>{why}</span>
        : null,
  },
];

/** The chosen columns, in their order; all if no known one is chosen. */
export function chosenColumns(chosen: readonly string[]): readonly Column[] {
  const found = columns.filter(({ id }) => id === "state" || id === "device" || chosen.includes(id));
  return chosen.length === 0 ? columns : found;
}
