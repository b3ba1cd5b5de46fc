/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * How a kept version is shown, wherever it is: what it is, why it is kept, and its attributes beside those that device and
 * cloud have now. Equal ones are folded; one that differs is marked by a sign, not by its colour alone.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { Model, Schema } from "../../../schema/model.ts";
import { compare, type Side } from "../compare.ts";
import type { KeptAnswer, KeptRow } from "../kept.ts";
import type { PlainItem } from "../local_device.ts";
import { Copy, Problem, Time } from "../parts.tsx";
import { Dashed } from "../icons.tsx";
import { Value } from "./data_value.tsx";
import { deviceHref } from "./fleet_columns.tsx";
import { keptName } from "./kept_query.ts";

/** Why a version is kept, in words. */
const whys: Readonly<Record<string, string>> = {
  stale: "the cloud had a newer version",
  gone: "it was removed in the cloud",
  yielded: "it gave way to the cloud's version",
  overwritten: "the cloud's version lost to the device's",
  merged: "it was merged with the cloud's version",
  revived: "it came back after it was removed",
  restored: "the table was restored to a time before it",
  swept: "the table did not have it any more",
  invalid: "refused",
  "too-large": "too large",
  aside: "its table can't take it",
};

export function whyText({ why, reason }: Pick<KeptRow, "why" | "reason">): string {
  return reason ?? whys[why] ?? why;
}

/** What is shown of a row, and what can be done with it. */
export interface KeptItemProps {
  readonly schema: Schema;
  readonly row: KeptRow;
  readonly cloud: Side;
  readonly now: number;
  readonly isOpen?: boolean;
  /** The device is said: several are shown. */
  readonly withDevice?: boolean;
  /** The reason is said above. */
  readonly withoutReason?: boolean;
  /** Can be selected. */
  readonly selectable?: boolean;
  readonly children?: Child;
}

/** A kept version in a list. */
export function KeptItem(props: KeptItemProps) {
  const { schema, row, cloud, now, isOpen, withDevice, withoutReason, selectable, children } = props;
  const name = `${row.model} ${row.name}`;
  return (
    <li class="kept-item" data-row tabindex={-1} id={`kept-${keptName(row)}`}>
      {selectable
        ? (
          <input
            type="checkbox"
            name="kept"
            value={keptName(row)}
            aria-label={`Select ${name} of ${row.device.deviceId}`}
          />
        )
        : null}
      <details open={isOpen}>
        <summary>
          <span class="kept-name">
            {`${row.model} `}
            <span class="mono">{row.name}</span>
          </span>
          {withDevice ? <span class="chip device mono">{row.device.deviceId}</span> : null}
          {withoutReason ? null : <span class="kept-why">{whyText(row)}</span>}
          <span class="kept-diff">
            <Difference model={schema.models.get(row.model)} row={row} cloud={cloud} />
          </span>
          <span class="kept-at muted">
            <Time at={row.atMs} now={now} />
          </span>
        </summary>
        <Versions {...{ schema, row, cloud }} />
        {children ? <p class="acts">{children}</p> : null}
      </details>
    </li>
  );
}

/** The first attribute that differs, in short. */
function Difference({ model, row: { lost, now }, cloud }: { model: Model | undefined; row: KeptRow; cloud: Side }) {
  if (lost === null) return <>removal</>;
  const other = now ?? cloud;
  if (!lost) return null;
  if (!other) return <Alone model={model} item={lost} />;
  const [name, ...more] = compare(model, [lost, other]).differing;
  if (name === undefined) return <>equal by now</>;
  return (
    <>
      {`${name} `}
      <Value value={other[name]} has={name in other} />
      {" ≠ "}
      <b>
        <Value value={lost[name]} has={name in lost} />
      </b>
      {more.length > 0 ? ` +${more.length}` : ""}
    </>
  );
}

/** Nothing to compare it with: what it says. */
function Alone({ model, item }: { model: Model | undefined; item: PlainItem }) {
  const name = Object.keys(item).find((one) => !model?.keyFields.includes(one) && !model?.identityFields.includes(one));
  if (name === undefined) return null;
  return (
    <>
      {`${name} `}
      <b>
        <Value value={item[name]} has />
      </b>
    </>
  );
}

/** The versions side by side. */
export function Versions({ schema, row, cloud }: { schema: Schema; row: KeptRow; cloud: Side }) {
  const model = schema.models.get(row.model), isRejected = row.reason !== undefined || row.why in refusals;
  const sides: [name: string, side: Side, isLost: boolean][] = [
    [isRejected ? "in the cloud" : row.why === "overwritten" ? "cloud now" : "kept (cloud)", cloud, false],
    [
      row.why === "aside"
        ? "set aside"
        : isRejected
        ? "refused"
        : row.why === "overwritten"
        ? "lost (cloud)"
        : "lost (device)",
      row.lost,
      true,
    ],
    ["on the device now", row.now, false],
  ];
  const { differing, unmarked, equal } = compare(model, sides.map(([, side]) => side));
  return (
    <>
      {row.unknown ? <Problem message={row.unknown} /> : null}
      <div class="scroll" tabindex={0} role="region" aria-label={`Versions of ${row.model} ${row.name}`}>
        <table class="versions">
          <thead>
            <tr>
              <th scope="col">attribute</th>
              {sides.map(([name]) => <th scope="col">{name}</th>)}
            </tr>
          </thead>
          <tbody>
            <Whole sides={sides} />
            {differing.map((name) => <Attribute {...{ name, sides }} differs />)}
            {unmarked.map((name) => <Attribute {...{ name, sides }} />)}
          </tbody>
          {equal.length > 0
            ? (
              <tbody class="folded">
                <tr>
                  <td colspan={4}>
                    <details>
                      <summary>{`${equal.length} equal: ${equal.join(", ")}`}</summary>
                      <dl class="kv">
                        {equal.map((name) => (
                          <>
                            <dt class="mono">{name}</dt>
                            <dd>
                              <Value value={valueIn(sides, name)} has whole />
                            </dd>
                          </>
                        ))}
                      </dl>
                    </details>
                  </td>
                </tr>
              </tbody>
            )
            : null}
        </table>
      </div>
    </>
  );
}

const refusals: Readonly<Record<string, true>> = { invalid: true, "too-large": true, aside: true };

type Sides = readonly (readonly [name: string, side: Side, isLost: boolean])[];

function valueIn(sides: Sides, name: string): unknown {
  return sides.find(([, side]) => side && name in side)?.[1]?.[name];
}

/** That a side has no item at all is a difference of its own. */
function Whole({ sides }: { sides: Sides }) {
  if (!sides.some(([, side]) => side === null)) return null;
  return (
    <tr>
      <th scope="row">the item</th>
      {sides.map(([title, side, isLost]) => (
        <td class={side === null ? "differs" : undefined} data-side={title}>
          {side === undefined
            ? <span class="nothing">not known</span>
            : side === null
            ? <b>{isLost ? "removes it" : "none"}</b>
            : "is there"}
        </td>
      ))}
    </tr>
  );
}

function Attribute({ name, sides, differs }: { name: string; sides: Sides; differs?: boolean }) {
  return (
    <tr data-differs={differs ? name : undefined} class={differs ? undefined : "muted"}>
      <th scope="row" class="mono">{name}</th>
      {sides.map(([title, side, isLost]) => (
        <td class={differs && isLost ? "differs" : undefined} data-side={title}>
          {differs && isLost && side ? <span class="ne" role="img" aria-label="differs:">≠</span> : null}
          {side ? <Value value={side[name]} has={name in side} whole /> : <span class="nothing">–</span>}
        </td>
      ))}
    </tr>
  );
}

/** A device that can't be asked: why, and the line that shows the same on it. */
export function Away({ answer: { device, away }, children }: { answer: KeptAnswer; children?: Child }) {
  const id = `away-${device.deviceId}`;
  return (
    <section class="away" aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`} class="state quiet">
        <Dashed />
        <a class="mono" href={deviceHref(device.deviceId)}>{device.deviceId}</a>
      </h2>
      <p>{`It can't be asked now: ${away!.why}. On the device, this command lists what it keeps:`}</p>
      <div class="line-copy">
        <pre id={`${id}-line`}>{away!.command}</pre>
        <Copy from={`[id="${id}-line"]`} />
      </div>
      {children}
    </section>
  );
}
