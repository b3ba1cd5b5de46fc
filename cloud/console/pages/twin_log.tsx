/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Synced changes: when, by whom, what, how far; and the possible actions.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { ConsoleOptions } from "../context.ts";
import { Check, Chip, Cloud, Ring } from "../icons.tsx";
import type { LocalDevice, PlainItem } from "../local_device.ts";
import { Empty, Time } from "../parts.tsx";
import { deviceKeptHref } from "./kept_query.ts";
import { TwinForm } from "./twin_form.tsx";
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
}

export function TravelLog(view: LogView) {
  const { log, quiet } = view;
  return (
    <section class="card log" aria-labelledby="travelled">
      <header>
        <h2 id="travelled">What travelled</h2>
        {quiet.size > 0
          ? (
            <span class="muted hide-s">
              {`${[...quiet].join(", ")} ${quiet.size === 1 ? "changes" : "change"} too often to be listed`}
            </span>
          )
          : null}
        <a class="btn small right" href="/live">Open Live</a>
      </header>
      {log.length === 0
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
                {log.slice(0, rowsMax).map((travel) => <Row {...{ view, travel }} />)}
              </tbody>
            </table>
          </div>
        )}
    </section>
  );
}

function Row({ view, travel }: { view: LogView; travel: Travel }) {
  const { now, device } = view;
  return (
    <tr id={`travel-${travel.id}`} data-kind={travel.kind}>
      <td class="muted">
        <Time at={travel.atMs} now={now} />
      </td>
      <td>
        {travel.kind === "down"
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
      <td class="what">
        <What {...{ view, travel }} />
      </td>
      <td>
        <Stages {...{ view, travel }} />
      </td>
      <td class="num">
        <Act {...{ view, travel }} />
      </td>
    </tr>
  );
}

function What({ view: { options }, travel: { kind, model, old, now } }: { view: LogView; travel: Travel }) {
  const compiled = options.schema.models.get(model)!;
  const boring = new Set<string>(
    [compiled.createdField, compiled.updatedField, ...Object.values(compiled.identityNames)].filter((name) =>
      name !== undefined
    ),
  );
  const names = compiled.fields.flatMap(({ name, template }) =>
    template || boring.has(name) || compiled.keyFields.includes(name) ? [] : [name]
  );
  const key = <span class="mono">{short(compiled.keyFields.map((name) => text((now ?? old)?.[name])).join(" "))}</span>;
  if (kind === "lost") {
    return (
      <>
        {`${model} `}
        {key}
        {": both sides changed it. The newer won; "}
        <Values names={names} item={now} />
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

function Stages({ view: { device }, travel: { kind, loggedMs, arrivedMs } }: { view: LogView; travel: Travel }) {
  if (kind === "lost") {
    return (
      <span class="stages">
        <Stage isDone name="kept on the device" />
      </span>
    );
  }
  const ms = arrivedMs === undefined ? undefined : `${Math.round(arrivedMs)} ms`;
  const isCut = !device.status().connected;
  return (
    <span class="stages">
      <Stage isDone name={kind === "up" ? "written" : "saved"} />
      <em></em>
      {kind === "down"
        ? (
          <>
            <Stage
              isDone={loggedMs !== undefined}
              name="logged"
              ms={loggedMs === undefined ? undefined : `${Math.round(loggedMs)} ms`}
            />
            <em></em>
          </>
        )
        : null}
      {ms === undefined
        ? (
          <Stage
            isDone={false}
            name={isCut ? "device is offline" : kind === "up" ? "on its way" : "waits for the device"}
          />
        )
        : <Stage isDone name={kind === "up" ? "in cloud" : "on device"} ms={ms} />}
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
