/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * A device's orders of the last 7 days: what it was told, how far it is, what came of it.
 *
 * @module
 */
import type { StoredOrder } from "../../sync/orders.ts";
import { Check, Half, Ring, Triangle } from "../icons.tsx";
import { failureText, reportText } from "../order_tasks.ts";
import { Empty, Time } from "../parts.tsx";

const looks = {
  waiting: { word: "waits", tone: "quiet", Icon: Ring },
  running: { word: "under way", tone: "warn", Icon: Half },
  done: { word: "done", tone: "ok", Icon: Check },
  failed: { word: "failed", tone: "bad", Icon: Triangle },
} as const;

/** `Verify and repair`, `Retry 17 of rejected`. */
export function orderWord({ do: kind, table, id, model, repair }: StoredOrder): string {
  const word = kind[0]!.toUpperCase() + kind.slice(1);
  if (kind === "verify") return repair ? "Verify and repair" : word;
  if (table === undefined) return word;
  const which = id !== undefined ? String(id) : model !== undefined ? `all of ${model}` : "all";
  return table === "aside" ? "Try what is set aside again" : `${word} ${which} of ${table}`;
}

function resultOf(order: StoredOrder): string {
  if (order.state === "waiting") return order.why ?? "";
  if (order.state === "failed") return failureText(order.report ?? {});
  return reportText(order, order.report ?? {}, order.state === "running");
}

export function OrdersTab({ orders, now }: { orders: readonly StoredOrder[]; now: number }) {
  if (orders.length === 0) {
    return (
      <section class="card" aria-label="Orders">
        <Empty title="No orders in the last 7 days">
          <p>Sync and Verify above make one. An order to a device that is away waits.</p>
        </Empty>
      </section>
    );
  }
  return (
    <section class="card" aria-labelledby="orders-title">
      <h2 id="orders-title" class="pad">Orders</h2>
      <div class="scroll" tabindex={0} role="region" aria-label="Orders, the newest first">
        <table class="results">
          <thead>
            <tr>
              <th scope="col">State</th>
              <th scope="col">Order</th>
              <th scope="col">Result</th>
              <th scope="col" class="num">Given</th>
            </tr>
          </thead>
          <tbody>
            {orders.map((order) => {
              const { word, tone, Icon } = looks[order.state];
              return (
                <tr id={`order-${order.order}`}>
                  <td>
                    <span class={`state ${tone}`}>
                      <Icon />
                      {word}
                    </span>
                  </td>
                  <td>{orderWord(order)}</td>
                  <td class="wrap">{resultOf(order)}</td>
                  <td class="num">
                    <Time at={Date.parse(order.at)} now={now} />
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}
