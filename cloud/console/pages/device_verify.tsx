/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * A device's last verification: the sums, what was compared of each model, and the keys that differ, as far as the device has told
 * them. It tells some and counts the others: `twintable verify` lists them on the device.
 *
 * @module
 */
import type { Identity } from "../../../schema/model.ts";
import { isMap } from "../../../schema/values.ts";
import type { StoredOrder } from "../../sync/orders.ts";
import type { ConsoleOptions } from "../context.ts";
import { count, grouped, unknown } from "../format.ts";
import { fileOf } from "../kept.ts";
import { ownIds } from "../lines.ts";
import { Copy, Time } from "../parts.tsx";
import { itemHref } from "./data_query.ts";

/** A report and when it came. */
export interface Verified {
  readonly atMs: number;
  readonly report: Readonly<Record<string, unknown>>;
}

/** A verification is told as the answer of an order, or by itself: the newer counts. */
export function lastVerification(told: Verified | undefined, orders: readonly StoredOrder[]): Verified | undefined {
  const order = orders.find((one) => one.do === "verify" && one.state === "done");
  const ordered = order?.told === undefined
    ? undefined
    : { atMs: Date.parse(order.told), report: { state: "done", ...order.report } };
  return told && ordered ? told.atMs > ordered.atMs ? told : ordered : told ?? ordered;
}

/** In a card: the sums. */
export function Verification({ found, now }: { found: Verified | undefined; now: number }) {
  if (!found) return <p class="muted">It has reported none yet. Verify compares its database with the table.</p>;
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

interface ModelCounts {
  readonly name: string;
  readonly rows: number;
  readonly differences: number;
  readonly mended: number;
}

interface Told {
  readonly model: string;
  readonly key: Readonly<Record<string, unknown>>;
  readonly what: string;
  readonly detail: string;
  readonly mended: boolean;
}

/** A device's report is its own JSON: what does not fit is left out. */
function modelsIn({ models }: Verified["report"]): ModelCounts[] {
  const number = (value: unknown) => typeof value === "number" ? value : 0;
  return Object.entries(isMap(models) ? models : {}).flatMap(([name, of]) =>
    isMap(of) ? [{ name, rows: number(of.rows), differences: number(of.differences), mended: number(of.mended) }] : []
  ).sort((a, b) => b.differences - a.differences);
}

function foundIn({ found }: Verified["report"]): Told[] {
  return (Array.isArray(found) ? found : []).flatMap((one): Told[] => {
    if (!isMap(one) || !isMap(one.key) || typeof one.model !== "string") return [];
    const { model, key, what, detail, mended } = one;
    return [{ model, key, what: String(what ?? ""), detail: String(detail ?? ""), mended: mended === true }];
  });
}

/** Below: by model, and which keys. Nothing where an older agent has told only the sums. */
export function VerifyReport({ options, identity, verified }: {
  options: ConsoleOptions;
  identity: Identity;
  verified: Verified | undefined;
}) {
  const models = verified ? modelsIn(verified.report) : [], told = verified ? foundIn(verified.report) : [];
  if (models.length === 0) return null;
  const all = models.reduce((sum, { differences }) => sum + differences, 0);
  return (
    <section class="card after" aria-labelledby="verified-title" id="verified">
      <h2 id="verified-title" class="pad">Verification, by model</h2>
      <div class="scroll" tabindex={0} role="region" aria-label="What was compared, by model">
        <table>
          <thead>
            <tr>
              <th scope="col">model</th>
              <th scope="col" class="num">rows compared</th>
              <th scope="col" class="num">differ</th>
              <th scope="col" class="num">mended</th>
            </tr>
          </thead>
          <tbody>
            {models.map(({ name, rows, differences, mended }) => (
              <tr>
                <td>{name}</td>
                <td class="num">{grouped(rows)}</td>
                <td class={differences > mended ? "num warn-text" : "num"}>{grouped(differences)}</td>
                <td class="num">{grouped(mended)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {told.length > 0
        ? (
          <ul class="differences" aria-label="Keys that differ">
            {told.map((one) => <Difference {...{ options, identity, one }} />)}
          </ul>
        )
        : null}
      {all > told.length
        ? <Rest {...{ options, identity }} number={all - told.length} isAll={told.length === 0} />
        : null}
    </section>
  );
}

function Difference({ options, identity, one }: { options: ConsoleOptions; identity: Identity; one: Told }) {
  const { key, what, detail, mended } = one, model = options.schema.models.get(one.model);
  const words = Object.values(key).map((value) => typeof value === "string" ? value : JSON.stringify(value)).join(
    " · ",
  );
  const isThere = model?.inCloud && what !== "only on the device";
  return (
    <li>
      <span class={mended ? "chip ok" : "chip warn"}>{mended ? "mended" : what}</span>
      {isThere
        ? (
          <a href={itemHref(model, { ...ownIds(model, identity), ...key })}>
            {`${one.model} `}
            <span class="mono">{words}</span>
          </a>
        )
        : (
          <span>
            {`${one.model} `}
            <span class="mono">{words}</span>
          </span>
        )}
      <span class="muted">{mended ? `${what}: ${detail}` : detail}</span>
    </li>
  );
}

function Rest({ options, identity: { deviceId }, number, isAll }: {
  options: ConsoleOptions;
  identity: Identity;
  number: number;
  isAll: boolean;
}) {
  return (
    <div class="pad">
      <p class="muted">
        {`${count(number, isAll ? "key" : "more key")} ${number === 1 ? "is" : "are"} counted only. On the device:`}
      </p>
      <div class="line-copy">
        <pre id="verify-line">{`twintable verify --db ${fileOf(options, deviceId)}`}</pre>
        <Copy from="#verify-line" />
      </div>
    </div>
  );
}
