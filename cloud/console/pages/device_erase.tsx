/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The end of a device, by its id typed: revoked, so that its token opens nothing; or decommissioned, so that its items and what
 * the log holds of it go as well, with a receipt (`cloud/operations/erasure.ts`). The second wants a token that may admin.
 *
 * @module
 */
import { Log } from "../../../protocol/log.ts";
import { pause } from "../../../protocol/within.ts";
import { isId } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import type { ErasureState } from "../../operations/erasure.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { grouped } from "../format.ts";
import type { Routes } from "../mod.tsx";
import { FormToken, Problem, Time } from "../parts.tsx";
import { deviceHref } from "./fleet_columns.tsx";

const logger = new Log("console");

/** Adds the routes. */
export function mountEnds(
  { page, action, options }: Routes,
  deviceOf: (c: PageContext) => Promise<DeviceStanding>,
): void {
  const erasing = new Erasing(options);
  page("/devices/:id/revoke", async (c) => revokePage(c, await deviceOf(c)));
  action("/devices/:id/revoke", async (c, form) => {
    const device = await deviceOf(c);
    if (textOf(form, "typed")?.trim() !== device.deviceId) return revokePage(c, device, true);
    await options.registry.revoke(device.deviceId);
    return c.redirect("/fleet", 303);
  });
  page("/devices/:id/erase", async (c) => erasePage(c, await deviceOf(c)));
  action("/devices/:id/erase", async (c, form) => {
    const device = await deviceOf(c);
    if (textOf(form, "typed")?.trim() !== device.deviceId) return erasePage(c, device, true);
    return await begin(erasing, c, device.deviceId);
  }, "admin");
  action("/devices/:id/erasure", async (c) => {
    return await begin(erasing, c, (await erasureOf(options, c)).device);
  }, "admin");
  page("/devices/:id/erasure", async (c) => receiptPage(options, c, await erasureOf(options, c)));
  page("/devices/:id/erasure.json", async (c) => {
    const state = await erasureOf(options, c);
    c.header("content-disposition", `attachment; filename="erasure-${state.device}.json"`);
    return c.json(state);
  });
}

async function begin(erasing: Erasing, c: PageContext, deviceId: string): Promise<Response> {
  await erasing.run(deviceId);
  return c.redirect(`${deviceHref(deviceId)}/erasure`, 303);
}

async function erasureOf({ erasure }: ConsoleOptions, c: PageContext): Promise<ErasureState> {
  const id = c.req.param("id") ?? "", state = isId(id) ? await erasure.state(id) : undefined;
  if (!state) throw new ApiError(404, "not-found", `“${id}” was not erased.`);
  return state;
}

/** Goes on with erasures behind the request that began them; one that stops is gone on with by its page's button. */
class Erasing {
  readonly #under = new Set<string>();

  constructor(private readonly options: ConsoleOptions) {}

  /** Does what a request has time for; in a worker the rest follows. @throws as `Erasure.run` */
  async run(deviceId: string): Promise<void> {
    const { erasure, events } = this.options;
    const state = await erasure.run(deviceId);
    if (!state || state.done !== undefined || !events || this.#under.has(deviceId)) return;
    this.#under.add(deviceId);
    this.#goOn(deviceId, state, events.closing)
      .catch((error) => logger.error("erasing {deviceId} stopped: {error}", { deviceId, error }))
      .finally(() => {
        this.#under.delete(deviceId);
        this.#tell(deviceId);
      });
  }

  async #goOn(deviceId: string, begun: ErasureState, closing: AbortSignal): Promise<void> {
    const { erasure, now } = this.options;
    for (let state: ErasureState | undefined = begun; state && state.done === undefined && !closing.aborted;) {
      this.#tell(deviceId);
      const untilMs = state.waitsUntil === undefined ? 0 : Date.parse(state.waitsUntil) - now();
      // At least a moment: a table that is throttled is not asked without end.
      await pause(Math.max(250, untilMs), closing);
      if (!closing.aborted) state = await erasure.run(deviceId);
    }
  }

  #tell(deviceId: string): void {
    this.options.events?.publish({ name: "job", topic: `erasure:${deviceId}`, data: { id: deviceId } });
  }
}

/** The form of an act that wants the device's id typed. */
function TypedId(
  { c, device, act, label }: { c: PageContext; device: string; act: "revoke" | "erase"; label: string },
) {
  return (
    <form method="post" action={`${deviceHref(device)}/${act}`} class="card pad form">
      <FormToken token={c.get("session").formToken} />
      <p>
        <label for="typed">{`Type its id, ${device}`}</label>
        <input id="typed" class="mono" name="typed" required autocomplete="off" spellcheck={false} autofocus />
      </p>
      <p class="acts">
        <button class="btn danger" type="submit">{label}</button>
        <a class="btn" href={deviceHref(device)} data-back>Cancel</a>
      </p>
    </form>
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
              {`Its token stops working${
                connected ? ", and its connection is cut" : ""
              }. Its items stay in the table; changes that it has not sent stay on the device.`}
            </p>
          </div>
        </div>
        {isWrong ? <Problem message="That is not its id. Nothing was revoked." /> : null}
        <TypedId c={c} device={deviceId} act="revoke" label="Revoke" />
      </>
    ),
  };
}

function erasePage(c: PageContext, { deviceId }: DeviceStanding, isWrong = false): Page {
  return {
    title: `Decommission ${deviceId}`,
    status: isWrong ? 400 : 200,
    body: (
      <>
        <div class="head">
          <div>
            <h1>{`Decommission ${deviceId}?`}</h1>
            <p class="muted">
              Its token stops working. Its items are deleted from the table, with its log, its orders and its reports;
              items that it shares with others stay. This can't be undone. A receipt says what was deleted, and what
              remains where.
            </p>
          </div>
        </div>
        {isWrong ? <Problem message="That is not its id. Nothing was deleted." /> : null}
        {c.get("session").isAdmin
          ? <TypedId c={c} device={deviceId} act="erase" label="Erase it and all its items" />
          : <Problem message="Your token may not erase devices: this needs a token of scope admin." />}
      </>
    ),
  };
}

function receiptPage({ now, events }: ConsoleOptions, c: PageContext, state: ErasureState): Page {
  const { device, account, begun, done, waitsUntil } = state, href = `${deviceHref(device)}/erasure`;
  return {
    title: done ? `Receipt of ${device}` : `Erasing ${device}`,
    on: `erasure:${device}`,
    body: (
      <div
        id="erasure"
        hx-get={href}
        hx-select="#erasure"
        hx-swap="outerMorph"
        hx-trigger="tt:job from:body, tt:again from:body"
      >
        <div class="head">
          <div>
            <h1>{done ? `${device} is erased` : `${device} is being erased`}</h1>
            <p class="muted" role="status">
              {`Of account ${account}; begun `}
              <Time at={Date.parse(begun)} now={now()} />
              {" ago"}
              {done
                ? `, done ${done.slice(0, 19).replace("T", " ")} UTC.`
                : waitsUntil
                ? `. It goes over its items once more after ${
                  waitsUntil.slice(11, 19)
                } UTC: a worker may still be writing what came earlier.`
                : "."}
            </p>
          </div>
          <div class="acts">
            {done
              ? <a class="btn" href={`${href}.json`}>Receipt as JSON</a>
              : c.get("session").isAdmin
              ? (
                <form method="post" action={href}>
                  <FormToken token={c.get("session").formToken} />
                  <button class="btn" type="submit">{events ? "Go on now" : "Go on"}</button>
                </form>
              )
              : null}
            <a class="btn" href="/fleet" data-back>To the fleet</a>
          </div>
        </div>
        <Deleted state={state} />
        {done ? <Remains state={state} /> : null}
      </div>
    ),
  };
}

function Deleted({ state: { items, logEntries } }: { state: ErasureState }) {
  return (
    <section class="card pad" aria-labelledby="deleted-title">
      <h2 id="deleted-title">Deleted</h2>
      <dl class="kv after">
        {Object.entries(items).map(([model, number]) => (
          <>
            <dt>{model}</dt>
            <dd>{grouped(number)}</dd>
          </>
        ))}
        <dt>Entries of its log</dt>
        <dd>{grouped(logEntries)}</dd>
      </dl>
    </section>
  );
}

function Remains({ state: { remains } }: { state: ErasureState }) {
  return (
    <section class="card after" aria-labelledby="remains-title">
      <h2 id="remains-title" class="pad">What remains, and until when</h2>
      <div class="scroll" tabindex={0} role="region" aria-label="What remains">
        <table>
          <thead>
            <tr>
              <th scope="col">what</th>
              <th scope="col">until</th>
            </tr>
          </thead>
          <tbody>
            {remains.map(({ what, until }) => (
              <tr>
                <td class="wrap-cell">{what}</td>
                <td>{until ? `${until.slice(0, 16).replace("T", " ")} UTC` : "not by itself"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
