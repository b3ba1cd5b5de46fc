/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/console/find`: from a few letters to a page, a device, a model's items, or by a model and the values of a key to an item.
 *
 * @module
 */
import { queryFleet } from "../../api/devices.ts";
import type { ConsoleOptions, Page } from "../context.ts";
import type { Routes } from "../mod.tsx";
import { fieldOf } from "../../../schema.ts";
import type { Field } from "../../../schema/model.ts";
import { Empty } from "../parts.tsx";
import { readItem } from "../save.ts";
import { itemHref } from "./data_query.ts";
import { faultOf } from "./error.tsx";
import { deviceHref } from "./fleet_columns.tsx";
import { pageModules } from "./index.ts";

interface Hit {
  readonly href: string;
  readonly name: string;
  readonly what: string;
}

const actions: readonly Hit[] = [{ href: "/fleet/add", name: "Add device", what: "action" }];
const hitsMax = 40;

/** The finder's route. */
export function mount({ page, options }: Routes): void {
  page("/console/find", async (c) => {
    const q = (c.req.query("q") ?? "").trim();
    const hits = q === "" ? pages(options, "") : await find(options, q);
    // One device of exactly that name, or the item of exactly that key: there.
    const exact = hits.find(({ name, what }) => what === "item" || what === "device" && name === q);
    if (exact) return c.redirect(exact.href, 303);
    return findPage(q, hits);
  });
}

function pages(options: ConsoleOptions, q: string): Hit[] {
  const links = pageModules.flatMap(({ link }) => !link || link.isThere?.(options) === false ? [] : [link]);
  const all = [...links.map(({ path, name }) => ({ href: path, name, what: "page" })), ...actions];
  return all.filter(({ name }) => name.toLowerCase().includes(q.toLowerCase()));
}

async function find(options: ConsoleOptions, q: string): Promise<Hit[]> {
  const word = /^[\w.-]+$/.test(q) ? q : undefined;
  const devices = word ? (await queryFleet(options.fleet, { q: word, limit: hitsMax })).devices : [];
  return [
    ...pages(options, q),
    ...await itemsOf(options, q),
    ...devices.map(({ deviceId }) => ({ href: deviceHref(deviceId), name: deviceId, what: "device" })),
  ];
}

/** `Setting` is its items; `Setting press-1 load` the item of this key, in the order that its page has them. */
async function itemsOf({ schema, items }: ConsoleOptions, q: string): Promise<Hit[]> {
  const [first = "", ...values] = q.split(/\s+/);
  const model = [...schema.models.values()].find(({ name }) => name.toLowerCase() === first.toLowerCase());
  if (!model) return [];
  const all: Hit = { href: `/data/${encodeURIComponent(model.name)}`, name: model.name, what: "items" };
  const names = [...new Set([...model.identityFields, ...model.keyFields])];
  if (values.length !== names.length) return [all];
  const key = Object.fromEntries(names.map((name, at) => [name, keyValue(fieldOf(model, name), values[at]!)]));
  const seen = await readItem(items, model, key).catch((error) => {
    // What is typed need not be a key.
    if (faultOf(error).status >= 500) throw error;
    return undefined;
  });
  return seen ? [{ href: itemHref(model, key), name: q, what: "item" }] : [all];
}

function keyValue(field: Field | undefined, text: string): unknown {
  return field?.type === "number" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function findPage(q: string, hits: readonly Hit[]): Page {
  return {
    title: "Find",
    body: (
      <>
        <div class="head">
          <h1>{q === "" ? "Find" : `Found for “${q}”`}</h1>
        </div>
        <form action="/console/find" role="search" aria-label="Find again" class="acts found">
          <input name="q" type="search" value={q} aria-label="Find" autofocus={q === ""} autocomplete="off" />
          <button class="btn" type="submit">Find</button>
        </form>
        <div class="card">
          {hits.length === 0
            ? (
              <Empty title="Nothing found">
                <p>
                  Type the beginning of a device's id, a page, a model, or a model and a key:{" "}
                  <code>Setting press-1 load</code>
                </p>
              </Empty>
            )
            : (
              <table>
                <tbody data-rows>
                  {hits.map(({ href, name, what }) => (
                    <tr data-row>
                      <td>
                        <a href={href} data-open>{name}</a>
                      </td>
                      <td class="muted">{what}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
        </div>
      </>
    ),
  };
}
