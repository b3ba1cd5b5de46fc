/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Kept versions as a list, to be opened, selected, put back and dropped. What is chosen goes to a page that says first what is
 * overwritten or lost (`kept_confirm.tsx`): a form of its own address, which works without JavaScript.
 *
 * @module
 */
import type { Schema } from "../../../schema/model.ts";
import type { Side } from "../compare.ts";
import { count } from "../format.ts";
import type { KeptRow } from "../kept.ts";
import { KeptItem } from "./kept_parts.tsx";
import { keptHref, keptName, type KeptView, type PagedTable } from "./kept_query.ts";

interface ListProps {
  readonly schema: Schema;
  readonly view: KeptView;
  readonly now: number;
  readonly mayWrite: boolean;
  readonly rows: readonly KeptRow[];
  readonly cloud: ReadonlyMap<KeptRow, Side>;
  /** The number to go on after. */
  readonly next?: number;
  /** The reason is said above. */
  readonly withoutReason?: boolean;
  /** Without a title of its own. */
  readonly isPart?: boolean;
}

/** What puts a version back is called so. */
export const backWord: Readonly<Record<PagedTable, string>> = { conflicts: "Restore", rejected: "Retry" };

function confirmHref(table: PagedTable, what: string, row: KeptRow): string {
  return `/${table}/confirm?${new URLSearchParams({ do: what, kept: keptName(row) })}`;
}

export function KeptList(props: ListProps) {
  const { view, rows, next, isPart } = props, devices = new Set(rows.map(({ device }) => device.deviceId));
  const list = <Selectable {...props} withDevice={devices.size > 1} />;
  if (isPart) return list;
  return (
    <section class="card after" aria-labelledby="kept-title">
      <h2 id="kept-title" class="pad">
        {view.row
          ? `${rows[0]!.model} ${rows[0]!.name} on ${rows[0]!.device.deviceId}`
          : `${count(rows.length, "version")} on ${[...devices].slice(0, 3).join(", ")}${devices.size > 3 ? "…" : ""}`}
      </h2>
      {list}
      <div class="foot">
        <span>The oldest first.</span>
        <span class="right">
          {view.after ? <a class="btn small" href={keptHref(view, { after: 0 })}>From the start</a> : null}
          {view.row ? <a class="btn small" href={keptHref(view, { row: 0 })}>{`All of ${view.device}`}</a> : null}
          {next === undefined ? null : <a class="btn small" rel="next" href={keptHref(view, { after: next })}>Next</a>}
        </span>
      </div>
    </section>
  );
}

function Selectable({ schema, view, now, mayWrite, rows, cloud, withDevice, withoutReason }: ListProps & {
  withDevice: boolean;
}) {
  const { table } = view, back = backWord[table], what = table === "conflicts" ? "restore" : "retry";
  const items = (
    <ol class="kept-items" data-rows>
      {rows.map((row) => (
        <KeptItem
          {...{ schema, row, now, withDevice, withoutReason }}
          cloud={cloud.get(row)}
          isOpen={view.row === row.id || rows.length === 1}
          selectable={mayWrite && rows.length > 1}
        >
          {mayWrite
            ? (
              <>
                <a class="btn small" href={confirmHref(table, what, row)}>{`${back}…`}</a>
                <a class="btn small danger" href={confirmHref(table, "drop", row)}>Drop…</a>
              </>
            )
            : null}
        </KeptItem>
      ))}
    </ol>
  );
  if (!mayWrite || rows.length < 2) return items;
  return (
    <form action={`/${table}/confirm`} data-select>
      <div class="bulk" data-bulk>
        <b data-selected>With the selected</b>
        <button class="btn small" name="do" value={what} type="submit">{`${back}…`}</button>
        <button class="btn small danger" name="do" value="drop" type="submit">Drop…</button>
      </div>
      {items}
    </form>
  );
}
