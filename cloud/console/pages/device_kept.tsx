/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * What a device keeps, on its own page: rejected changes, conflicts, items set aside. Asked from the device when a tab is
 * opened; of one that is away, the line that shows the same on it.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { ConsoleOptions } from "../context.ts";
import { count } from "../format.ts";
import { askDevice, inCloud, type KeptAnswer } from "../kept.ts";
import { Empty, FormToken } from "../parts.tsx";
import type { Session } from "../session.ts";
import { deviceHref } from "./fleet_columns.tsx";
import { readMax } from "./kept_find.ts";
import { Groups } from "./kept_groups.tsx";
import { KeptList } from "./kept_list.tsx";
import { Away, KeptItem } from "./kept_parts.tsx";
import { deviceKeptHref, keptViewOf, type PagedTable } from "./kept_query.ts";

interface TabProps {
  readonly options: ConsoleOptions;
  readonly device: DeviceStanding;
  readonly session: Session;
  readonly now: number;
}

const pageRows = 50;

function AwayCard({ answer }: { answer: KeptAnswer }) {
  return (
    <div class="card pad">
      <Away answer={answer} />
    </div>
  );
}

function None({ title, children }: { title: string; children?: Child }) {
  return (
    <div class="card">
      <Empty title={title}>{children}</Empty>
    </div>
  );
}

/** Rejected changes or conflicts, as on their own pages. */
export async function KeptTab({ options, device, session, now, table }: TabProps & { table: PagedTable }) {
  const most = table === "rejected" ? readMax : pageRows;
  const answer = await askDevice(options, device, { table, most }), { rows, next, away } = answer;
  if (away) return <AwayCard answer={answer} />;
  if (rows.length === 0) return <None title={table === "rejected" ? "Nothing is rejected ✓" : "No conflicts ✓"} />;
  const view = keptViewOf(table, new URLSearchParams({ device: device.deviceId }));
  const { mayWrite, formToken } = session, shared = { schema: options.schema, view, now, mayWrite, formToken, rows };
  return (
    <>
      <p class="muted">
        {table === "rejected"
          ? "What the cloud refused stays on the device until it is retried or dropped. "
          : "Versions that lost to a newer one stay on the device until they are restored or dropped. "}
        <a href={deviceKeptHref(table, device.deviceId)}>
          {`On the page ${table === "rejected" ? "Rejected" : "Conflicts"}, with filters`}
        </a>
      </p>
      {table === "rejected"
        ? await Groups({ ...shared, isCut: next !== undefined, cloudOf: (shown) => inCloud(options, shown) })
        : <KeptList {...shared} next={next} cloud={await inCloud(options, rows)} />}
    </>
  );
}

/** Items from the cloud that their table can't take: they can be tried again, and not be dropped. */
export async function AsideTab({ options, device, session, now }: TabProps) {
  const answer = await askDevice(options, device, { table: "aside", most: pageRows }), { rows, next, away } = answer;
  if (away) return <AwayCard answer={answer} />;
  if (rows.length === 0) return <None title="Nothing is set aside ✓" />;
  const cloud = await inCloud(options, rows);
  return (
    <section class="card" aria-labelledby="aside-title">
      <div class="group">
        <header>
          <div>
            <h2 id="aside-title">
              {`${count(rows.length, "item")}${next === undefined ? "" : " and more"}, set aside`}
            </h2>
            <p class="muted">
              The device's tables can't take them: a constraint on the device is in the way. The device tries again by
              itself, and at once when you ask for it here.
            </p>
          </div>
          {session.mayWrite
            ? (
              <form method="post" action={`${deviceHref(device.deviceId)}/aside`}>
                <FormToken token={session.formToken} />
                <button class="btn primary" type="submit">Try again now</button>
              </form>
            )
            : null}
        </header>
      </div>
      <ol class="kept-items" data-rows>
        {rows.map((row) => <KeptItem {...{ schema: options.schema, row, now }} cloud={cloud.get(row)} />)}
      </ol>
    </section>
  );
}
