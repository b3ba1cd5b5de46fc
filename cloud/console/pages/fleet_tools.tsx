/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The fleet's search, its ready-made views, its columns, and the words that are searched by, each with a way out.
 *
 * @module
 */
import { count, grouped } from "../format.ts";
import { CopyIcon, Down, Lens } from "../icons.tsx";
import { type PastRange, pastRanges } from "../past.ts";
import { columns } from "./fleet_columns.tsx";
import { type FleetView, hrefOf, withoutWord, withWord, wordsOf } from "./fleet_query.ts";

const views: readonly (readonly [name: string, q: string, sort?: string])[] = [
  ["All devices", ""],
  ["In trouble or lagging", "state:trouble,lagging"],
  ["Silent, longest first", "state:silent", "-seen"],
  ["Silent for longer than usual", "overdue:yes", "-seen"],
  ["With rejected changes", "rejected:>0", "-rejected"],
  ["With conflicts", "conflicts:>0", "-conflicts"],
  ["Fullest outboxes", "outbox:>0", "-outbox"],
  ["Agents by version", "", "agent"],
];

export function Tools({ view }: { view: FleetView }) {
  return (
    <div class="tools">
      <form
        class="q"
        action="/fleet"
        role="search"
        aria-label="Devices"
        hx-get="/fleet"
        hx-target="#fleet"
        hx-select="#fleet"
        hx-select-oob="#tiles,#views,#columns,#range"
        hx-swap="outerHTML"
        hx-push-url="true"
        hx-trigger="submit, input changed delay:300ms from:#q"
      >
        <Lens />
        <input
          id="q"
          class="mono"
          name="q"
          type="search"
          value={view.q}
          aria-label="Search devices"
          placeholder="state:trouble account:acme outbox:>100 lag:>60 or the beginning of an id"
          autocomplete="off"
          spellcheck={false}
        />
        {view.sort === "-worst" ? null : <input type="hidden" name="sort" value={view.sort} />}
        {view.columns.map((id) => <input type="hidden" name="col" value={id} />)}
        {view.range === "30m" ? null : <input type="hidden" name="range" value={view.range} />}
        <button class="sr" type="submit">Search</button>
      </form>
      <ViewsMenu view={view} />
      <ColumnsMenu view={view} />
      <button class="btn js" type="button" data-copy="url">
        <CopyIcon />Link
      </button>
      <a class="btn primary" href="/fleet/add">Add device</a>
    </div>
  );
}

function ViewsMenu({ view }: { view: FleetView }) {
  return (
    <details class="menu" id="views">
      <summary class="btn">
        Views<Down />
      </summary>
      <div>
        {views.map(([name, q, sort = "-worst"]) => <a href={hrefOf(view, { q, sort, from: 0 })}>{name}</a>)}
        <a class="sep" href="/fleet/silence">How long silence is usual…</a>
      </div>
    </details>
  );
}

function ColumnsMenu({ view }: { view: FleetView }) {
  return (
    <details class="menu hide-s" id="columns">
      <summary class="btn">
        Columns<Down />
      </summary>
      <div>
        <form action="/fleet">
          {view.q ? <input type="hidden" name="q" value={view.q} /> : null}
          {view.sort === "-worst" ? null : <input type="hidden" name="sort" value={view.sort} />}
          {view.range === "30m" ? null : <input type="hidden" name="range" value={view.range} />}
          {columns.filter(({ id }) => id !== "state" && id !== "device").map(({ id, label }) => (
            <label>
              <input
                type="checkbox"
                name="col"
                value={id}
                checked={view.columns.length === 0 || view.columns.includes(id)}
              />
              {label}
            </label>
          ))}
          <p class="acts">
            <button class="btn small primary" type="submit">Show</button>
            <a class="btn small" href={hrefOf(view, { columns: [] })}>Reset</a>
          </p>
        </form>
      </div>
    </details>
  );
}

/** What the charts show. */
export function RangeMenu({ view }: { view: FleetView }) {
  return (
    <details class="menu" id="range">
      <summary class="btn">
        <span class="sr">{"Charts: "}</span>
        {`Last ${pastRanges[view.range].title}`}
        <Down />
      </summary>
      <div>
        {(Object.keys(pastRanges) as PastRange[]).map((range) => (
          <a href={hrefOf(view, { range })} aria-current={range === view.range ? "true" : undefined}>
            {`Last ${pastRanges[range].title}`}
          </a>
        ))}
      </div>
    </details>
  );
}

const suggestions: readonly (readonly [label: string, word: string])[] = [
  ["Trouble or lagging", "state:trouble,lagging"],
  ["Outbox above 100", "outbox:>100"],
  ["Silent for longer than usual", "overdue:yes"],
  ["Rejected", "rejected:>0"],
];

export function Filters({ view, total, all }: { view: FleetView; total: number; all: number }) {
  const words = wordsOf(view.q);
  return (
    <div class="filters">
      {words.map((word) => (
        <span class="f">
          <span class="mono">{word}</span>
          <a href={hrefOf(view, { q: withoutWord(view.q, word), from: 0 })} aria-label={`Without ${word}`}>×</a>
        </span>
      ))}
      {suggestions.filter(([, word]) => !words.some((one) => one.startsWith(word.split(":")[0]!))).map((
        [label, word],
      ) => <a class="f add" href={hrefOf(view, { q: withWord(view.q, word), from: 0 })}>{`+ ${label}`}</a>)}
      <span role="status">{words.length ? `${grouped(total)} of ${count(all, "device")}` : count(all, "device")}</span>
    </div>
  );
}
