/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Before a kept version is put back or dropped: what it overwrites, or what is lost. What the person has seen is noted in the
 * form; where a version or its row is another one by then, nothing is done. Then the orders go out, as a job.
 *
 * @module
 */
import { ApiError } from "../../api/errors.ts";
import { compare, type Side } from "../compare.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { count, grouped as inGroups } from "../format.ts";
import { inCloud, type KeptRow } from "../kept.ts";
import type { Routes } from "../mod.tsx";
import { orderTask } from "../order_tasks.ts";
import { FormToken, Problem, Time } from "../parts.tsx";
import { Value } from "./data_value.tsx";
import { startJob } from "./jobs.tsx";
import { checkSeen, deviceNamed, isNewer, rowsNamed, rowsOfGroup, seenIn } from "./kept_find.ts";
import { backWord } from "./kept_list.tsx";
import { Versions } from "./kept_parts.tsx";
import { deviceKeptHref, keptHref, keptName, keptViewOf, type PagedTable, wordsOf } from "./kept_query.ts";

/** Without the number, so many at once. */
const unaskedMax = 20;
/** Versions that are shown one by one before they go. */
const shownMax = 20;
/** Orders under way at a time: a device takes 20 at once, and 50 may be open. */
const atOnce = 8;

/** What is done, as an order says it. */
type Deed = "restore" | "retry" | "drop";

function deedOf(table: PagedTable, text: string | undefined | null): Deed {
  const back = table === "conflicts" ? "restore" : "retry";
  if (text === back || text === "drop") return text;
  throw new ApiError(400, "invalid", "There is no such order.");
}

function deedWord(table: PagedTable, deed: Deed): string {
  return deed === "drop" ? "Drop" : backWord[table];
}

const nouns = { conflicts: "version", rejected: "change" } as const;

/** `/conflicts/confirm`, `/rejected/confirm`. */
export async function confirmPage(options: ConsoleOptions, c: PageContext, table: PagedTable): Promise<Page> {
  const query = new URL(c.req.url).searchParams, deed = deedOf(table, query.get("do"));
  if (query.has("group")) {
    const view = keptViewOf(table, query), rows = await rowsOfGroup(options, view);
    return await sayFirst(options, c, { table, deed, rows, scope: wordsOf(view) });
  }
  return await sayFirst(options, c, { table, deed, rows: await rowsNamed(options, table, query.getAll("kept")) });
}

interface Ask {
  readonly table: PagedTable;
  readonly deed: Deed;
  readonly rows: readonly KeptRow[];
  /** A group is named as such, and found anew. */
  readonly scope?: readonly (readonly [string, string])[];
  readonly wrong?: boolean;
}

async function sayFirst(options: ConsoleOptions, c: PageContext, ask: Ask): Promise<Page> {
  const { table, deed, rows, scope, wrong } = ask, now = options.now();
  if (rows.length === 0) throw new ApiError(404, "not-found", "It is not there any more.");
  const word = deedWord(table, deed), shown = rows.slice(0, shownMax), cloud = await inCloud(options, shown);
  const first = rows[0]!, what = rows.length === 1 ? `${first.model} ${first.name}` : count(rows.length, nouns[table]);
  return {
    title: `${word} ${what}`,
    status: wrong ? 400 : 200,
    body: (
      <>
        <div class="head">
          <div>
            <h1>{`${word} ${what}?`}</h1>
            <p class="muted">{consequence(table, deed, rows.length)}</p>
          </div>
        </div>
        {wrong ? <Problem message="That is not the number. Nothing was done." /> : null}
        {shown.map((row) => (
          <section class="card after" aria-label={`${row.model} ${row.name} on ${row.device.deviceId}`}>
            <h2 class="pad">
              {`${row.model} `}
              <span class="mono">{row.name}</span>
              <span class="muted">{` on ${row.device.deviceId}`}</span>
            </h2>
            {deed === "drop" ? null : <Overwrites {...{ options, row, now }} />}
            <Versions schema={options.schema} row={row} cloud={cloud.get(row)} />
          </section>
        ))}
        {rows.length > shown.length
          ? <p class="muted after">{`and ${inGroups(rows.length - shown.length)} more`}</p>
          : null}
        <form method="post" action={`/${table}/do`} class="form after">
          <FormToken token={c.get("session").formToken} />
          <input type="hidden" name="do" value={deed} />
          {scope
            ? scope.map(([name, value]) => <input type="hidden" name={name} value={value} />)
            : rows.map((row) => (
              <>
                <input type="hidden" name="kept" value={keptName(row)} />
                <input type="hidden" name="seen" value={`${keptName(row)} ${row.seen}`} />
              </>
            ))}
          {rows.length > unaskedMax
            ? (
              <p>
                <label for="confirm">{`How many (${rows.length})`}</label>
                <input id="confirm" name="confirm" inputmode="numeric" required autocomplete="off" autofocus />
              </p>
            )
            : null}
          <p class="acts">
            <button class={`btn ${deed === "drop" ? "danger" : "primary"}`} type="submit">{`${word} ${what}`}</button>
            <a class="btn" href={deviceKeptHref(table, first.device.deviceId)} data-back>Cancel</a>
          </p>
        </form>
      </>
    ),
  };
}

function consequence(table: PagedTable, deed: Deed, number: number): string {
  if (deed === "drop") return "The device deletes it for good. The row and the cloud's item stay as they are.";
  const it = number === 1 ? "It becomes" : "They become";
  return table === "conflicts"
    ? `${it} the newest version, on the device and in the cloud, and travel${number === 1 ? "s" : ""} as any change.`
    : "The device writes it again as a new change and sends it. If the cloud refuses it again, it comes back here.";
}

/** What a version overwrites on the device, in a sentence before the table. */
function Overwrites({ options, row, now }: { options: ConsoleOptions; row: KeptRow; now: number }) {
  const model = options.schema.models.get(row.model);
  const newer = isNewer(options, row) && model?.updatedField
    ? Date.parse(String(row.now![model.updatedField]))
    : undefined;
  return (
    <p class="pad overwrites">
      <Effect lost={row.lost} now={row.now} differing={compare(model, [row.lost, row.now]).differing} />
      {newer === undefined ? null : (
        <span class="warn">
          {" The row was written after this version was kept, "}
          <Time at={newer} now={now} />
          {" ago: that is overwritten, too."}
        </span>
      )}
    </p>
  );
}

function Effect({ lost, now, differing }: { lost: Side; now: Side; differing: readonly string[] }) {
  if (lost === null) {
    return <b>{now === null ? "Nothing changes: there is no row to remove." : "It removes the row."}</b>;
  }
  if (lost === undefined) return <b>The version can't be read here.</b>;
  if (now === null) return <b>It creates the row: there is none now.</b>;
  if (now === undefined) return <b>What it overwrites is not known.</b>;
  if (differing.length === 0) return <b>Nothing changes: the row has the same values.</b>;
  return (
    <>
      <b>It overwrites</b> {differing.map((name, at) => (
        <>
          {`${at ? ", " : ""}${name} `}
          <Value value={now[name]} has={name in now} />
          {" with "}
          <b>
            <Value value={lost[name]} has={name in lost} />
          </b>
        </>
      ))}
      .
    </>
  );
}

/** `/conflicts/do`, `/rejected/do`. */
export async function doKept(
  routes: Routes,
  c: PageContext,
  table: PagedTable,
  form: FormData,
): Promise<Page | Response> {
  if (textOf(form, "do") === "retry-all") return await retryAll(routes, c, table, form);
  const { options } = routes, deed = deedOf(table, textOf(form, "do"));
  const view = keptViewOf(table, new URLSearchParams([...form].map(([name, value]) => [name, String(value)])));
  if (view.group !== "") {
    const rows = await rowsOfGroup(options, view);
    if (deed === "drop" && rows.length > unaskedMax && textOf(form, "confirm") !== String(rows.length)) {
      return await sayFirst(options, c, { table, deed, rows, scope: wordsOf(view), wrong: true });
    }
    return await start(routes, c, { table, deed, rows, back: keptHref(view, { group: "" }), force: () => false });
  }
  const rows = await rowsNamed(options, table, form.getAll("kept").map(String));
  checkSeen(rows, seenIn(form));
  if (rows.length > unaskedMax && textOf(form, "confirm") !== String(rows.length)) {
    return await sayFirst(options, c, { table, deed, rows, wrong: true });
  }
  const back = deviceKeptHref(table, rows[0]!.device.deviceId);
  return await start(routes, c, { table, deed, rows, back, force: (row) => isNewer(options, row) });
}

interface Doing {
  readonly table: PagedTable;
  readonly deed: Deed;
  readonly rows: readonly KeptRow[];
  readonly back: string;
  /** The person has seen that the row is newer. */
  force(row: KeptRow): boolean;
}

async function start(
  routes: Routes,
  c: PageContext,
  { table, deed, rows, back, force }: Doing,
): Promise<Page | Response> {
  if (rows.length === 0) throw new ApiError(404, "not-found", "It is not there any more.");
  const tasks = rows.map((row) => {
    const more = deed !== "drop" && force(row) ? { force: true } : {};
    const content = { do: deed, table, id: row.id, ...more };
    return orderTask(routes.options, row.device, content, `${row.model} ${row.name}`);
  });
  const what = rows.length === 1 ? `${rows[0]!.model} ${rows[0]!.name}` : count(rows.length, nouns[table]);
  const title = `${deedWord(table, deed)} ${what}`;
  const name = table === "conflicts" ? "To Conflicts" : "To Rejected";
  return await startJob(routes, c, { title, tasks, atOnce, back: { href: back, name } });
}

/** Of a device that is away: all, or all of a model, by one order that waits for it. */
async function retryAll(
  routes: Routes,
  c: PageContext,
  table: PagedTable,
  form: FormData,
): Promise<Page | Response> {
  if (table !== "rejected") throw new ApiError(400, "invalid", "There is no such order.");
  const device = await deviceNamed(routes.options, textOf(form, "device") ?? ""),
    model = textOf(form, "model") || undefined;
  const content = { do: "retry" as const, table, ...(model === undefined ? { all: true } : { model }) };
  return await startJob(routes, c, {
    title: `Retry all${model === undefined ? "" : ` of ${model}`} on ${device.deviceId}`,
    tasks: [orderTask(routes.options, device, content)],
    atOnce: 1,
    back: { href: deviceKeptHref(table, device.deviceId), name: "To Rejected" },
  });
}
