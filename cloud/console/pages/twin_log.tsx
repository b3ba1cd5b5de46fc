/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Synced changes: when, by whom, what, how far; and the possible actions.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import { goesUp } from "../../../schema/direction.ts";
import type { Model } from "../../../schema/model.ts";
import type { ConsoleOptions } from "../context.ts";
import { took } from "../format.ts";
import { Check, Chip, Cloud, Ring } from "../icons.tsx";
import type { LocalDevice, PlainItem } from "../local_device.ts";
import { Empty, Time } from "../parts.tsx";
import { deviceKeptHref } from "./kept_query.ts";
import { TwinForm } from "./twin_form.tsx";
import { shownModels } from "./twin_query.ts";
import type { Travel } from "../travels.ts";
import { text } from "./twin_side.tsx";

const rowsMax = 20;

interface LogView {
  readonly options: ConsoleOptions;
  readonly log: readonly Travel[];
  readonly now: number;
  readonly device: LocalDevice;
  readonly formToken: string;
  readonly quiet: ReadonlySet<string>;
  /** How many changes travelled so far: a page that is paused says how many it does not show. */
  readonly travelled: number;
}

export function TravelLog(view: LogView) {
  const { log, quiet, travelled } = view;
  const rows = [...waitingRows(view), ...log.slice(0, rowsMax).map((travel) => rowOf(view, travel))];
  rows.sort((a, b) => b.atMs - a.atMs);
  return (
    <section class="card log" id="log" aria-labelledby="travelled" data-travelled={travelled}>
      <header>
        <h2 id="travelled">What travelled</h2>
        {quiet.size > 0
          ? (
            <span class="muted hide-s">
              {`${[...quiet].join(", ")} ${quiet.size === 1 ? "changes" : "change"} too often to be listed`}
            </span>
          )
          : null}
        <span class="right">
          <span class="muted" id="missed"></span>
          <button class="btn small js" type="button" id="pause" aria-pressed="false" data-key-p>Pause</button>
          <a class="btn small" href="/live">Open Live</a>
        </span>
      </header>
      {rows.length === 0
        ? (
          <Empty title="Nothing yet">
            <p>Change a value on either side.</p>
          </Empty>
        )
        : (
          <div class="scroll" tabindex={0} role="region" aria-label="Changes that travelled">
            <table>
              <thead>
                <tr>
                  <th scope="col">when</th>
                  <th scope="col">written by</th>
                  <th scope="col">what</th>
                  <th scope="col">how far</th>
                  <th scope="col" class="num">
                    <span class="sr">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {rows.map(({ row }) => row)}
              </tbody>
            </table>
          </div>
        )}
    </section>
  );
}

/** A change that waits for longer than this is listed although the device is connected. */
const waitsMs = 1_000;

interface TimedRow {
  readonly atMs: number;
  readonly row: Child;
}

/** What was written on the device and has not reached the cloud: as the device itself lists it. */
function waitingRows({ options, device, now, quiet }: LogView): TimedRow[] {
  const { connected, outbox } = device.status();
  if (outbox === 0) return [];
  const models = shownModels(options).filter((model) => goesUp(model) && !quiet.has(model.name));
  return models.flatMap((model) => device.waiting(model.name, rowsMax).map((one) => ({ model, ...one })))
    .filter(({ sinceMs }) => !connected || now - sinceMs > waitsMs)
    .sort((a, b) => b.sinceMs - a.sinceMs).slice(0, rowsMax)
    .map(({ model, key, sinceMs }) => {
      const shown = Object.values(key).map(text).join(" ");
      const item = device.items(model.name, itemsMax).items.find((one) =>
        model.keyFields.map((name) => text(one[name])).join(" ") === shown
      );
      const what = (
        <>
          {`${model.name} `}
          <span class="mono">{short(shown)}</span>
          {item ? ": " : ": removed"}
          <Values names={valueNames(model)} item={item} />
        </>
      );
      const far = (
        <span class="stages">
          <Stage isDone name="written" />
          <em></em>
          <Stage isDone={false} name={connected ? "waits for the cloud" : "device is offline"} />
        </span>
      );
      return {
        atMs: sinceMs,
        row: <Row {...{ id: `waits-${model.name}-${shown}`, kind: "waits", atMs: sinceMs, now, device, what, far }} />,
      };
    });
}

/** Rows among which the value that waits is looked for. */
const itemsMax = 100;

function rowOf(view: LogView, travel: Travel): TimedRow {
  const { now, device } = view, { id, kind, atMs } = travel;
  const parts = { what: <What {...{ view, travel }} />, far: <Stages {...{ view, travel }} /> };
  return {
    atMs,
    row: <Row {...{ id: `travel-${id}`, kind, atMs, now, device, ...parts }} act={<Act {...{ view, travel }} />} />,
  };
}

function Row({ id, kind, atMs, now, device, what, far, act }: {
  id: string;
  kind: Travel["kind"] | "waits";
  atMs: number;
  now: number;
  device: LocalDevice;
  what: Child;
  far: Child;
  act?: Child;
}) {
  return (
    <tr id={id} data-kind={kind}>
      <td class="muted">
        <Time at={atMs} now={now} />
      </td>
      <td>
        {kind === "down"
          ? (
            <span class="from down">
              <Cloud />cloud
            </span>
          )
          : (
            <span class="from up">
              <Chip />
              {device.deviceId}
            </span>
          )}
      </td>
      <td class="what">{what}</td>
      <td>{far}</td>
      <td class="num">{act ?? null}</td>
    </tr>
  );
}

/** The fields that a person set. */
function valueNames({ fields, createdField, updatedField, identityNames, keyFields }: Model): string[] {
  const boring = new Set<string | undefined>([createdField, updatedField, ...Object.values(identityNames)]);
  return fields.flatMap(({ name, template }) => template || boring.has(name) || keyFields.includes(name) ? [] : [name]);
}

function What({ view: { options }, travel: { kind, model, old, now } }: { view: LogView; travel: Travel }) {
  const compiled = options.schema.models.get(model)!;
  const names = valueNames(compiled);
  const key = <span class="mono">{short(compiled.keyFields.map((name) => text((now ?? old)?.[name])).join(" "))}</span>;
  if (kind === "lost") {
    const differs = names.filter((name) => text(old?.[name]) !== text(now?.[name]));
    return (
      <>
        {`${model} `}
        {key}
        {": both sides changed it. The newer"}
        {old && differs.length > 0
          ? (
            <>
              {", "}
              <Values names={differs} item={old} />
              {","}
            </>
          )
          : null}
        {" won; "}
        <Values names={old && differs.length > 0 ? differs : names} item={now} />
        {" is kept"}
      </>
    );
  }
  if (!now) return <>{`${model} `}{key}{": removed"}</>;
  if (!old) {
    return (
      <>
        {`${model} `}
        {key}
        {": new, "}
        <Values names={names} item={now} />
      </>
    );
  }
  const changed = names.filter((name) => text(old[name]) !== text(now[name]));
  return (
    <>
      {`${model} `}
      {key}
      {": "}
      {changed.length === 0 ? "written again" : changed.slice(0, 3).map((name, i): Child => (
        <>
          {`${i ? ", " : ""}${name} ${short(text(old[name]))} → `}
          <b>{short(text(now[name]))}</b>
        </>
      ))}
    </>
  );
}

function Values({ names, item }: { names: readonly string[]; item: PlainItem | undefined }) {
  const shown = names.filter((name) => item && item[name] !== undefined).slice(0, 3);
  return (
    <>
      {shown.map((name, i) => (
        <>
          {`${i ? ", " : ""}${name} `}
          <b>{short(text(item![name]))}</b>
        </>
      ))}
    </>
  );
}

function short(value: string): string {
  return value.length > 40 ? `${value.slice(0, 39)}…` : value;
}

function Stages({ view: { device }, travel }: { view: LogView; travel: Travel }) {
  const { kind, sentMs, loggedMs, arrivedMs, overtaken } = travel;
  if (kind === "lost") {
    return (
      <span class="stages">
        <Stage isDone name="kept on the device" />
      </span>
    );
  }
  const msOf = (ms: number | undefined) => ms === undefined ? undefined : took(ms);
  // Of a change that is there, it is known that it was sent, although not when, if it was before the page was opened.
  const [step, stepMs, isStepDone] = kind === "up"
    ? ["sent", sentMs, sentMs !== undefined || arrivedMs !== undefined] as const
    : ["logged", loggedMs, loggedMs !== undefined] as const;
  const isCut = !device.status().connected;
  return (
    <span class="stages">
      <Stage isDone name={kind === "up" ? "written" : "saved"} />
      <em></em>
      <Stage isDone={isStepDone} name={step} ms={msOf(stepMs)} />
      <em></em>
      {arrivedMs === undefined
        ? (
          <Stage
            isDone={false}
            name={overtaken
              ? "the device's was newer"
              : isCut
              ? "device is offline"
              : kind === "up"
              ? "on its way"
              : "waits for the device"}
          />
        )
        : <Stage isDone name={kind === "up" ? "in cloud" : "on device"} ms={msOf(arrivedMs)} />}
    </span>
  );
}

function Stage({ isDone, name, ms }: { isDone: boolean; name: string; ms?: string }) {
  return (
    <span class={isDone ? "on" : undefined}>
      {isDone ? <Check /> : <Ring />}
      {name}
      {ms ? <small>{` ${ms}`}</small> : null}
    </span>
  );
}

/** Puts back what was there before a change of the cloud's; a version that lost is compared, and restored, among the conflicts. */
function Act({ view: { options, device, formToken }, travel }: { view: LogView; travel: Travel }) {
  const compiled = options.schema.models.get(travel.model)!;
  if (travel.kind === "lost" && travel.conflict !== undefined) {
    return (
      <a class="btn quiet small" href={deviceKeptHref("conflicts", device.deviceId, travel.conflict)}>
        Compare<span class="sr">{` ${travel.model} ${travel.key}`}</span>
      </a>
    );
  }
  if (travel.kind !== "down" || (!travel.old && !travel.now)) return null;
  return (
    <TwinForm action="/twin/undo" formToken={formToken} device={device.deviceId} model={compiled.name}>
      <input type="hidden" name="travel" value={String(travel.id)} />
      <button class="btn quiet small" type="submit">Undo</button>
    </TwinForm>
  );
}
