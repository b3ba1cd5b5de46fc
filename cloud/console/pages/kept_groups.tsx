/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Rejected changes by reason: what was refused for one is mostly mended by one correction, and then retried together.
 *
 * @module
 */
import type { Schema } from "../../../schema/model.ts";
import type { Side } from "../compare.ts";
import { count, grouped as inGroups } from "../format.ts";
import { type Group, grouped, type KeptRow } from "../kept.ts";
import { FormToken, Time } from "../parts.tsx";
import { readMax } from "./kept_find.ts";
import { KeptList } from "./kept_list.tsx";
import { keptHref, type KeptView, wordsOf } from "./kept_query.ts";

/** Changes of a group that are shown: of each, and where it is chosen. */
const sampleRows = 3, chosenRows = 50;
/** Groups that are shown; others are said. */
const groupsMax = 30;

interface GroupsProps {
  readonly schema: Schema;
  readonly view: KeptView;
  readonly now: number;
  readonly mayWrite: boolean;
  readonly formToken: string;
  readonly rows: readonly KeptRow[];
  /** A device has more than were read. */
  readonly isCut: boolean;
  cloudOf(rows: readonly KeptRow[]): Promise<ReadonlyMap<KeptRow, Side>>;
}

export async function Groups(props: GroupsProps) {
  const { view, rows, isCut, cloudOf } = props, all = grouped(rows);
  const chosen = view.group ? all.filter(({ key }) => key === view.group) : all.slice(0, groupsMax);
  const most = view.group ? chosenRows : sampleRows;
  const cloud = await cloudOf(chosen.flatMap((group) => group.rows.slice(0, most)));
  if (chosen.length === 0) return <p class="note after" role="status">No change of this group is there any more.</p>;
  return (
    <>
      {isCut
        ? (
          <p class="note after" role="status">
            {`A device keeps more than ${inGroups(readMax)}: those are the oldest.`}
          </p>
        )
        : null}
      {chosen.map((group, at) => <OneGroup {...props} {...{ group, at, most, cloud }} />)}
      {all.length > chosen.length && !view.group
        ? <p class="muted after">{`${count(all.length - chosen.length, "smaller group")} more: filter by model.`}</p>
        : null}
    </>
  );
}

function OneGroup({ schema, view, now, mayWrite, formToken, group, at, most, cloud }: GroupsProps & {
  group: Group;
  at: number;
  most: number;
  cloud: ReadonlyMap<KeptRow, Side>;
}) {
  const id = `group-${at}`, devices = [...new Set(group.rows.map(({ device }) => device.deviceId))];
  const newest = Math.max(...group.rows.map(({ atMs }) => atMs ?? 0)), more = group.rows.length - most;
  return (
    <section class="card after group" aria-labelledby={id} data-group={group.key}>
      <header>
        <div>
          <h2 id={id}>
            <b class="bad">{`${inGroups(group.rows.length)} ×`}</b> {group.reason}
          </h2>
          <p class="muted">
            {`${group.model} · ${devices.slice(0, 3).join(", ")}${
              devices.length > 3 ? ` and ${devices.length - 3} more` : ""
            } · the newest `}
            <Time at={newest || undefined} now={now} />
          </p>
        </div>
        {mayWrite ? <GroupActions {...{ view, group, formToken }} /> : null}
      </header>
      <KeptList
        {...{ schema, now, mayWrite, cloud }}
        view={{ ...view, group: group.key }}
        rows={group.rows.slice(0, most)}
        withoutReason
        isPart
      />
      {more > 0
        ? (
          <div class="foot">
            {view.group
              ? <span>{`${inGroups(more)} more are not shown; Retry all includes them.`}</span>
              : (
                <a href={keptHref(view, { group: group.key })}>
                  {`Show ${inGroups(Math.min(group.rows.length, chosenRows))}`}
                </a>
              )}
          </div>
        )
        : null}
    </section>
  );
}

function GroupActions({ view, group, formToken }: { view: KeptView; group: Group; formToken: string }) {
  const scope = wordsOf({ ...view, group: group.key, after: 0, row: 0 });
  return (
    <div class="acts">
      <form method="post" action="/rejected/do">
        <FormToken token={formToken} />
        <input type="hidden" name="do" value="retry" />
        {scope.map(([name, value]) => <input type="hidden" name={name} value={value} />)}
        <button class="btn primary" type="submit">
          {group.rows.length === 1 ? "Retry" : `Retry all ${inGroups(group.rows.length)}`}
        </button>
      </form>
      <a class="btn danger" href={`/rejected/confirm?${new URLSearchParams([["do", "drop"], ...scope])}`}>
        {group.rows.length === 1 ? "Drop…" : "Drop all…"}
      </a>
    </div>
  );
}
