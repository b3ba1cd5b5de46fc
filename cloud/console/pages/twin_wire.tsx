/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * What is between the two sides of the Twin page: the last change each way, or the cut.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { ago, grouped, took } from "../format.ts";
import type { LocalStatus } from "../local_device.ts";
import type { Travel } from "../travels.ts";
import { shownFields, text } from "./twin_side.tsx";

export function Wire({ status, log, now, models, model, differs }: {
  status: LocalStatus;
  log: readonly Travel[];
  now: number;
  models: ReadonlyMap<string, Model>;
  model: Model;
  differs: number;
}) {
  const isCut = status.pausedMs !== undefined;
  const [up, down] = (["up", "down"] as const).map((kind) => log.find((travel) => travel.kind === kind));
  const waitsDown =
    log.filter(({ kind, arrivedMs, overtaken }) => kind === "down" && arrivedMs === undefined && !overtaken).length;
  if (isCut) return <Cut {...{ status, waitsDown, now, model, differs }} />;
  return (
    <div class="wire" role="group" aria-label="Between the device and the cloud">
      <Lane travel={up} now={now} direction="up" models={models} />
      <div class="mid">{`MQTT, ${grouped(status.outbox)} waiting`}</div>
      <Lane travel={down} now={now} direction="down" models={models} />
    </div>
  );
}

function Cut({ status, waitsDown, now, model, differs }: {
  status: LocalStatus;
  waitsDown: number;
  now: number;
  model: Model;
  differs: number;
}) {
  return (
    <div class="wire" role="group" aria-label="Between the device and the cloud">
      <div class="lane up">
        <b>{`${grouped(status.outbox)} waiting here`}</b>
        <span class="what">{`since ${ago(now - status.pausedMs!)}`}</span>
      </div>
      <div class="lane cut">
        <svg viewBox="0 0 164 34" aria-hidden="true">
          <path d="M0 17H58M58 8v18M106 8v18M106 17H164" class="w2" />
          <path d="m72 11 6 12M84 11l6 12" class="w2" />
        </svg>
        <b>Unplugged</b>
        <span class="what">Both sides go on working</span>
      </div>
      <div class="lane down">
        <b>{`${grouped(waitsDown)} waiting there`}</b>
        <span class="what">
          {differs > 0 ? differsText(model, differs, status.outbox > 0 && waitsDown > 0) : ""}
        </span>
      </div>
    </div>
  );
}

function differsText({ name, conflict }: Model, differs: number, bothWait: boolean): string {
  const text = `${grouped(differs)} ${name} ${differs === 1 ? "item differs" : "items differ"}`;
  return bothWait && conflict === "newest" ? `${text}: where both sides changed one, the newer will win` : text;
}

/** A change younger than this moves. */
const freshMs = 4_000;

/** `90 → 85`. */
function changeText(models: ReadonlyMap<string, Model>, { model, old, now }: Travel): string {
  if (!now) return "removed";
  const field = shownFields(models.get(model)!).values.find(({ name }) => short(old?.[name]) !== short(now[name]));
  if (!field) return "now";
  return old ? `${short(old[field.name])} → ${short(now[field.name])}` : `new: ${short(now[field.name])}`;
}

function short(value: unknown): string {
  const whole = text(value);
  return whole.length > 12 ? `${whole.slice(0, 11)}…` : whole;
}

function Lane(
  { travel, now, direction, models }: {
    travel: Travel | undefined;
    now: number;
    direction: "up" | "down";
    models: ReadonlyMap<string, Model>;
  },
) {
  const isFresh = travel !== undefined && now - travel.atMs < freshMs;
  const colour = direction === "up" ? "var-device" : "var-cloud";
  return (
    <div class={`lane ${direction}`} data-lane={direction} data-travel={travel?.id}>
      <b>{isFresh ? `${travel.model} ${shortKey(travel)}` : "Quiet"}</b>
      <span class="what">
        {travel
          ? isFresh ? changeText(models, travel) : `last: ${shortKey(travel)}, ${ago(now - travel.atMs)}`
          : "nothing yet"}
      </span>
      <svg viewBox="0 0 164 34" aria-hidden="true">
        <g transform={direction === "down" ? "rotate(180 82 17)" : undefined}>
          <path d="M0 17H152" class={isFresh ? "w2" : "w2 quiet-line"} />
          <path d="m150 11 8 6-8 6" class="w2" />
          {isFresh
            ? (
              <g class="packet">
                <rect x="66" y="6" width="36" height="22" rx="5" class={colour} />
                <path d="M73 14h22M73 20h13" class="packet-lines" />
              </g>
            )
            : null}
        </g>
      </svg>
      <span class="what">
        {!travel
          ? ""
          : travel.arrivedMs === undefined
          ? travel.overtaken ? "the other side was newer" : "on its way"
          : `arrived in ${took(travel.arrivedMs)}`}
      </span>
    </div>
  );
}

function shortKey({ key }: Travel): string {
  const last = key.split("#").at(-1) ?? key;
  return last.length > 16 ? `${last.slice(0, 6)}…${last.slice(-4)}` : last;
}
