/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * A device's overview: what it reports of itself, who it is, its last verification, where it is in each channel's log, and how
 * much it keeps for people. What it says is of a time, and that is said; what is not known is not zero.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { Channel } from "../../../protocol.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { StoredOrder } from "../../sync/orders.ts";
import type { ConsoleOptions } from "../context.ts";
import { duration, grouped, unknown } from "../format.ts";
import { fileOf } from "../kept.ts";
import { Copy, Time } from "../parts.tsx";
import { channelsOf } from "./device_changes.tsx";
import { lastVerification, Verification, VerifyReport } from "./device_verify.tsx";
import { deviceHref } from "./fleet_columns.tsx";

interface OverviewProps {
  readonly options: ConsoleOptions;
  readonly device: DeviceStanding;
  readonly orders: readonly StoredOrder[];
  readonly now: number;
}

export async function Overview({ options, device, orders, now }: OverviewProps) {
  const { deviceId, accountId, report } = device;
  const [channels, told] = await Promise.all([placesOf(options, device), options.registry.report(deviceId)]);
  const verified = lastVerification(told, orders);
  return (
    <>
      <div class="device-cards">
        <Facts device={device} now={now} />
        <Identity device={device} now={now} accountId={accountId} />
        <section class="card pad" aria-labelledby="verify-title">
          <h2 id="verify-title">Last verification</h2>
          <Verification found={verified} now={now} />
        </section>
      </div>
      <VerifyReport {...{ options, verified }} identity={{ deviceId, accountId }} />
      <Channels channels={channels} deviceId={deviceId} />
      <section class="card pad after kept" aria-label="What it keeps for people">
        {keptTables.map((kept) => (
          <Kept {...kept} number={report?.[kept.id]} deviceId={deviceId} file={fileOf(options, deviceId)} />
        ))}
      </section>
      <p class="after">
        <a href={`/data?${new URLSearchParams({ device: deviceId })}`}>Its items in the cloud</a>
        {" · "}
        <a href={deviceHref(deviceId, "?tab=changes")}>Its last changes</a>
        {" · "}
        <a href={`/live?${new URLSearchParams({ q: `device:${deviceId}` })}`}>Its changes, live</a>
      </p>
    </>
  );
}

interface ChannelRow {
  readonly channel: Channel;
  readonly at: number | undefined;
  readonly head: number;
  /** The log's: a restored table has another one. */
  readonly epoch: string;
}

/** Where it is in each channel that it reads, and where the log ends. */
async function placesOf({ items, fleet }: ConsoleOptions, device: DeviceStanding): Promise<ChannelRow[]> {
  const { deviceId, report } = device, at = fleet.told(deviceId)?.at ?? report?.at ?? {};
  return await Promise.all(
    channelsOf(device).map(async (channel) => {
      const { head, epoch } = await items.log.state(channel);
      return { channel, at: at[channel], head, epoch };
    }),
  );
}

function Channels({ channels, deviceId }: { channels: readonly ChannelRow[]; deviceId: string }) {
  return (
    <section class="card after" aria-labelledby="channels-title">
      <h2 id="channels-title" class="pad">Channels</h2>
      <div class="scroll" tabindex={0} role="region" aria-label="Places in the channels">
        <table>
          <thead>
            <tr>
              <th scope="col">channel</th>
              <th scope="col" class="num">device at</th>
              <th scope="col" class="num">log at</th>
              <th scope="col" class="num">behind</th>
              <th scope="col" class="num hide-s" title="The log begins a new one when the table is restored">epoch</th>
            </tr>
          </thead>
          <tbody>
            {channels.map(({ channel, at, head, epoch }) => (
              <tr>
                <td class="mono">
                  <a href={deviceHref(deviceId, `?${new URLSearchParams({ tab: "changes", channel })}`)}>{channel}</a>
                </td>
                <td class="num">{grouped(at)}</td>
                <td class="num">{grouped(head)}</td>
                <td class="num">{at === undefined ? unknown : grouped(Math.max(0, head - at))}</td>
                <td class="num mono hide-s">{epoch}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Fact({ name, children }: { name: string; children?: Child }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? unknown : `${grouped(Math.round(bytes / 1e5) / 10)} MB`;
}

function Facts({ device: { report, reportedMs, lagMs }, now }: { device: DeviceStanding; now: number }) {
  return (
    <section class="card pad" aria-labelledby="report-title">
      <h2 id="report-title">
        Report{" "}
        <span class="muted">
          {reportedMs === undefined ? "none yet" : (
            <>
              as of <Time at={reportedMs} now={now} />
            </>
          )}
        </span>
      </h2>
      <dl class="kv">
        <Fact name="Waiting changes">{grouped(report?.outbox)}</Fact>
        <Fact name="Oldest waits for">
          {lagMs === undefined ? report?.outbox === 0 ? "nothing waits" : unknown : duration(lagMs)}
        </Fact>
        <Fact name="Last minute">{`${grouped(report?.up)} up, ${grouped(report?.down)} down`}</Fact>
        <Fact name="Dropped (no room)">{grouped(report?.dropped)}</Fact>
        <Fact name="Database">{megabytes(report?.db)}</Fact>
        <Fact name="Free on its disk">{megabytes(report?.free)}</Fact>
        <Fact name="Clock">
          {report?.skew === undefined
            ? unknown
            : Math.abs(report.skew) < 1000
            ? "right within a second"
            : `${duration(Math.abs(report.skew))} ${report.skew > 0 ? "ahead" : "behind"}; corrected`}
        </Fact>
        <Fact name="Problem">{report?.problem ?? (report ? "none" : unknown)}</Fact>
        <Fact name="Last connection error">{report?.error ?? (report ? "none" : unknown)}</Fact>
      </dl>
    </section>
  );
}

function Identity({ device, now, accountId }: { device: DeviceStanding; now: number; accountId: string }) {
  const { report, createdMs, untilMs, beforeUntilMs } = device;
  return (
    <section class="card pad" aria-labelledby="identity-title">
      <h2 id="identity-title">Identity</h2>
      <dl class="kv">
        <Fact name="Account">
          <a href={`/fleet?q=account:${encodeURIComponent(accountId)}`}>{accountId}</a>
        </Fact>
        <Fact name="Added">
          <Time at={createdMs} now={now} />
        </Fact>
        <Fact name="Token">
          {untilMs === undefined
            ? "valid until revoked"
            : `valid until ${new Date(untilMs).toISOString().slice(0, 16)} UTC`}
        </Fact>
        {beforeUntilMs === undefined || beforeUntilMs < now ? null : (
          <Fact name="Previous token">
            {`valid until ${new Date(beforeUntilMs).toISOString().slice(0, 16)} UTC`}
          </Fact>
        )}
        <Fact name="Agent">{report?.agent ?? unknown}</Fact>
        <Fact name="Schema">
          <span class="mono">{report?.schema ?? unknown}</span>
        </Fact>
        <Fact name="SQLite">{report?.sqlite ?? unknown}</Fact>
        <Fact name="Runtime">{report?.runtime ?? unknown}</Fact>
      </dl>
    </section>
  );
}

const keptTables = [
  {
    id: "rejected",
    title: "Rejected",
    what: "Changes that the cloud refused; they stay on the device until they are retried or dropped.",
  },
  {
    id: "conflicts",
    title: "Conflicts",
    what: "Versions that lost to a newer one; they can be restored.",
  },
  {
    id: "aside",
    title: "Set aside",
    what: "Items from the cloud that a table on the device can't take; the device tries again.",
  },
] as const;

function Kept({ id, title, what, number, deviceId, file }: (typeof keptTables)[number] & {
  number: number | undefined;
  deviceId: string;
  file: string;
}) {
  return (
    <div id={id}>
      <h2>
        {title} <span class={`count ${number ? "warn" : ""}`}>{grouped(number)}</span>
      </h2>
      <p class="muted">{what}</p>
      {number
        ? (
          <>
            <p>
              <a href={deviceHref(deviceId, `?tab=${id}`)}>{`Look at ${number === 1 ? "it" : "them"}`}</a>
              , or on the device:
            </p>
            <div class="line-copy">
              <pre id={`${id}-line`}>{`twintable ${id} list --db ${file}`}</pre>
              <Copy from={`#${id}-line`} />
            </div>
          </>
        )
        : null}
    </div>
  );
}
