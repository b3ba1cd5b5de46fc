/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/devices/:id`: how a device stands and why, what it says of itself, where it is in each channel's log, its verification, and
 * what an operator may do with it. What it says is of a time, and that is said; what is not known is not zero.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import { isId } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import type { Channel } from "../../../protocol.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { duration, grouped, unknown } from "../format.ts";
import type { Routes } from "../mod.tsx";
import { Copy, FormToken, Problem, State, states, Time } from "../parts.tsx";
import { tokenPage } from "./fleet_add.tsx";
import { deviceHref } from "./fleet_columns.tsx";

/** The page's routes. */
export function mount({ page, action, options }: Routes): void {
  page("/devices/:id", (c) => devicePage(options, c));
  page("/devices/:id/revoke", async (c) => revokePage(c, await deviceOf(options, c)));
  action("/devices/:id/verify", async (c, form) => {
    const { deviceId, connected } = await deviceOf(options, c);
    if (!connected) throw new ApiError(409, "offline", "It is not connected: ask again when it is.");
    if (!options.service) throw new ApiError(503, "config", "Nothing is published here: a publisher is missing.");
    await options.service.requestVerify(deviceId, { repair: textOf(form, "repair") === "yes" });
    return c.redirect(`${deviceHref(deviceId)}?asked=verify`, 303);
  });
  action("/devices/:id/rotate", async (c) => {
    const { deviceId } = await deviceOf(options, c);
    const token = await options.registry.rotate(deviceId);
    return tokenPage(deviceId, token, "has another token");
  });
  action("/devices/:id/revoke", async (c, form) => {
    const device = await deviceOf(options, c);
    if (textOf(form, "typed")?.trim() !== device.deviceId) return revokePage(c, device, true);
    await options.registry.revoke(device.deviceId);
    options.fleet.changed();
    return c.redirect("/fleet", 303);
  });
}

async function deviceOf({ fleet }: ConsoleOptions, c: PageContext): Promise<DeviceStanding> {
  const id = c.req.param("id") ?? "", device = isId(id) ? await fleet.one(id) : undefined;
  if (!device) throw new ApiError(404, "not-found", `There is no device “${id}”.`);
  return device;
}

interface ChannelRow {
  readonly channel: Channel;
  readonly at: number | undefined;
  readonly head: number;
}

/** Where it is in each channel that it reads, and where the log ends. */
async function channelsOf({ items, fleet }: ConsoleOptions, device: DeviceStanding): Promise<ChannelRow[]> {
  const { deviceId, accountId, report } = device;
  const at = fleet.told(deviceId)?.at ?? report?.at ?? {};
  const names: Channel[] = [`device:${deviceId}`, `account:${accountId}`, "global"];
  return await Promise.all(names.map(async (channel) => ({
    channel,
    at: at[channel],
    head: (await items.log.state(channel)).head,
  })));
}

async function devicePage(options: ConsoleOptions, c: PageContext): Promise<Page> {
  const device = await deviceOf(options, c), now = options.now();
  const { deviceId, accountId, state, why, report, seenMs, connected } = device;
  const [channels, verification] = await Promise.all([channelsOf(options, device), options.registry.report(deviceId)]);
  const { mayWrite, formToken } = c.get("session");
  return {
    title: deviceId,
    on: `device:${deviceId}`,
    scripts: ["device.js"],
    body: (
      <div
        id="device"
        hx-get={deviceHref(deviceId)}
        hx-select="#device"
        hx-swap="outerMorph"
        hx-trigger="tt:refresh, tt:again from:body"
      >
        <div class="head">
          <div>
            <p class="muted">
              <a href="/fleet" data-back>Fleet</a>
            </p>
            <h1 class="mono-h">{deviceId}</h1>
            <p class="device-state">
              <State of={state} />
              {why ? <span class={states[state].tone}>{`: ${why}`}</span> : null}
              <span class="muted">
                {connected ? " · connected, heard " : seenMs === undefined ? " · never seen" : " · silent since "}
              </span>
              {seenMs === undefined ? null : <Time at={seenMs} now={now} />}
            </p>
          </div>
          {mayWrite ? <Actions deviceId={deviceId} formToken={formToken} /> : null}
        </div>
        {c.req.query("asked") === "verify"
          ? <p class="note ok" role="status">It was asked to verify; its report comes here.</p>
          : null}
        <div class="device-cards">
          <Facts device={device} now={now} />
          <Identity device={device} now={now} accountId={accountId} />
          <section class="card pad" aria-labelledby="verify-title">
            <h2 id="verify-title">Last verification</h2>
            <Verification found={verification} now={now} />
          </section>
        </div>
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
                </tr>
              </thead>
              <tbody>
                {channels.map(({ channel, at, head }) => (
                  <tr>
                    <td class="mono">{channel}</td>
                    <td class="num">{grouped(at)}</td>
                    <td class="num">{grouped(head)}</td>
                    <td class="num">{at === undefined ? unknown : grouped(Math.max(0, head - at))}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
        <section class="card pad after kept" aria-label="What it keeps for people">
          <Kept
            id="rejected"
            title="Rejected"
            number={report?.rejected}
            line={`twintable rejected list --db ${deviceId}.db`}
            what="Changes that the cloud refused; they stay on the device until they are retried or dropped."
          />
          <Kept
            id="conflicts"
            title="Conflicts"
            number={report?.conflicts}
            line={`twintable conflicts list --db ${deviceId}.db`}
            what="Versions that lost to a newer one; they can be restored."
          />
          <Kept
            id="aside"
            title="Set aside"
            number={report?.aside}
            line={`twintable aside list --db ${deviceId}.db`}
            what="Items from the cloud that their table can't take; they are tried again."
          />
        </section>
        <p class="after">
          <a href={`/data?${new URLSearchParams({ device: deviceId })}`}>Its items in the cloud</a>
        </p>
      </div>
    ),
  };
}

function Actions({ deviceId, formToken }: { deviceId: string; formToken: string }) {
  const at = deviceHref(deviceId);
  return (
    <div class="acts">
      <form method="post" action={`${at}/verify`}>
        <FormToken token={formToken} />
        <button class="btn primary" type="submit">Verify</button>
      </form>
      <form method="post" action={`${at}/verify`}>
        <FormToken token={formToken} />
        <input type="hidden" name="repair" value="yes" />
        <button class="btn" type="submit">Verify and repair</button>
      </form>
      <form method="post" action={`${at}/rotate`}>
        <FormToken token={formToken} />
        <button class="btn" type="submit">Rotate token</button>
      </form>
      <a class="btn danger" href={`${at}/revoke`}>Revoke…</a>
    </div>
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
        <Fact name="Dropped for want of room">{grouped(report?.dropped)}</Fact>
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
        <Fact name="Last error of the link">{report?.error ?? (report ? "none" : unknown)}</Fact>
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
            ? "valid without end"
            : `valid until ${new Date(untilMs).toISOString().slice(0, 16)} UTC`}
        </Fact>
        {beforeUntilMs === undefined || beforeUntilMs < now ? null : (
          <Fact name="Token before it">
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

function Verification(
  { found, now }: { found: { atMs: number; report: Record<string, unknown> } | undefined; now: number },
) {
  if (!found) return <p class="muted">It has told of none. Verify compares its database with the table.</p>;
  const { state, differences, mended, unsettled } = found.report;
  return (
    <>
      <p>
        <b>{differences === 0 ? "Both sides are equal" : `${String(differences ?? unknown)} keys differ`}</b>
        {typeof mended === "number" && mended > 0 ? `, ${grouped(mended)} mended` : ""}
      </p>
      <p class="muted">
        {`${String(state ?? "")} `}
        <Time at={found.atMs} now={now} />
        {typeof unsettled === "number" && unsettled > 0 ? `; ${grouped(unsettled)} keys had changes under way` : ""}
      </p>
    </>
  );
}

function Kept(
  { id, title, number, line, what }: {
    id: string;
    title: string;
    number: number | undefined;
    line: string;
    what: string;
  },
) {
  return (
    <div id={id}>
      <h2>
        {title} <span class={`count ${number ? "warn" : ""}`}>{grouped(number)}</span>
      </h2>
      <p class="muted">{what}</p>
      {number
        ? (
          <div class="line-copy">
            <pre id={`${id}-line`}>{line}</pre>
            <Copy from={`#${id}-line`} />
          </div>
        )
        : null}
    </div>
  );
}

function revokePage(c: PageContext, { deviceId, connected }: DeviceStanding, isWrong = false): Page {
  return {
    title: `Revoke ${deviceId}`,
    status: isWrong ? 400 : 200,
    body: (
      <>
        <div class="head">
          <div>
            <h1>{`Revoke ${deviceId}?`}</h1>
            <p class="muted">
              {`Its token opens nothing from then on${
                connected ? ", and its connection is cut" : ""
              }. Its items stay in the table; what it has not sent stays on the device.`}
            </p>
          </div>
        </div>
        {isWrong ? <Problem message="That is not its id. Nothing was revoked." /> : null}
        <form method="post" action={`${deviceHref(deviceId)}/revoke`} class="card pad form">
          <FormToken token={c.get("session").formToken} />
          <p>
            <label for="typed">{`Type its id, ${deviceId}`}</label>
            <input id="typed" class="mono" name="typed" required autocomplete="off" spellcheck={false} autofocus />
          </p>
          <p class="acts">
            <button class="btn danger" type="submit">Revoke</button>
            <a class="btn" href={deviceHref(deviceId)} data-back>Cancel</a>
          </p>
        </form>
      </>
    ),
  };
}
