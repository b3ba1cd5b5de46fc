/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/live`: live changes, and who makes them. Rows come as events of the feed; `assets/live.js` inserts them, the newest
 * first, at most 500; while paused, they are counted. A gap is shown in its place.
 *
 * @module
 */
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { Lens } from "../icons.tsx";
import type { Routes } from "../mod.tsx";
import { Empty, Problem } from "../parts.tsx";
import { type LiveView, liveView, telemetryOf } from "./live_query.ts";

export const link = {
  name: "Live",
  path: "/live",
  key: "l",
  isThere: ({ events }: ConsoleOptions) => events !== undefined,
};

/** The page's routes. */
export function mount({ page, options }: Routes): void {
  page("/live", (c) => livePage(options, c));
}

function livePage({ schema }: ConsoleOptions, c: PageContext): Page {
  const query = new URL(c.req.url).searchParams;
  const view = liveView(schema, query.get("q") ?? ""), telemetry = telemetryOf(schema);
  const withTelemetry = query.get("telemetry") === "1" || view.models.some((model) => telemetry.includes(model));
  const hidden = withTelemetry ? [] : telemetry;
  return {
    title: "Live",
    status: view.fault ? 400 : 200,
    on: "change,stage,gap",
    scripts: ["live.js"],
    body: (
      <>
        <div class="head">
          <div>
            <h1>Live</h1>
            <p class="muted">
              {hidden.length === 0 ? "Every change in the whole fleet, as it happens." : (
                <>
                  {`Changes in the whole fleet, as they happen. Telemetry (${hidden.join(", ")}) is left out. `}
                  <a href={hrefOf(view.q, true)}>Show it</a>
                </>
              )}
            </p>
          </div>
          <div class="acts">
            <button class="btn js" type="button" id="pause" aria-pressed="false" data-key-p>Pause</button>
            <button class="btn js" type="button" id="export">Export JSONL</button>
          </div>
        </div>
        <div class="card live-card">
          <form class="tools" action="/live">
            <label class="q">
              <Lens />
              <span class="sr">Which changes</span>
              <input
                class="mono"
                name="q"
                type="search"
                value={view.q}
                placeholder="model:Setting device:d-1 op:remove"
              />
            </label>
            {withTelemetry ? <input type="hidden" name="telemetry" value="1" /> : null}
            <button class="btn" type="submit">Filter</button>
            <span class="muted" id="rate">–</span>
          </form>
          {view.fault
            ? (
              <div class="pad">
                <Problem message={view.fault} code="invalid" />
              </div>
            )
            : null}
          <button class="btn small" type="button" id="fresh" hidden></button>
          <div class="scroll" tabindex={0} role="region" aria-label="Changes">
            <Changes {...{ schema, view, hidden }} />
          </div>
          <div id="quiet">
            <Empty title="Quiet so far">
              <p class="js">Changes appear here when something is written, on any device or in the table.</p>
              <p class="nojs">
                This page needs JavaScript. <code>GET /api/feed</code> and <code>/api/events</code> tell the same.
              </p>
            </Empty>
          </div>
        </div>
      </>
    ),
  };
}

/** The table that rows are put into, and what of the address they are judged by. */
function Changes({ schema, view, hidden }: {
  schema: ConsoleOptions["schema"];
  view: LiveView;
  hidden: readonly string[];
}) {
  return (
    <table
      id="changes"
      data-models={JSON.stringify(view.models)}
      data-by={JSON.stringify(view.by)}
      data-ops={JSON.stringify(view.ops)}
      data-hidden={JSON.stringify(hidden)}
      data-keys={JSON.stringify(keysOf(schema))}
    >
      <thead>
        <tr>
          <th scope="col">time</th>
          <th scope="col">by</th>
          <th scope="col">item</th>
          <th scope="col">what changed</th>
          <th scope="col">how far</th>
        </tr>
      </thead>
      <tbody data-rows></tbody>
    </table>
  );
}

/** By model, the properties that name an item: what its page is asked for by. */
function keysOf(schema: ConsoleOptions["schema"]): Record<string, readonly string[]> {
  return Object.fromEntries(
    [...schema.models.values()].map((model) => [model.name, [...model.identityFields, ...model.keyFields]]),
  );
}

function hrefOf(q: string, telemetry: boolean): string {
  const query = new URLSearchParams({ ...(q ? { q } : {}), ...(telemetry ? { telemetry: "1" } : {}) });
  return query.size > 0 ? `/live?${query}` : "/live";
}
