/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/console/find`: from a few letters to a page, a device, or a model's items.
 *
 * @module
 */
import { queryFleet } from "../../api/devices.ts";
import type { ConsoleOptions, Page } from "../context.ts";
import type { Routes } from "../mod.tsx";
import { Empty } from "../parts.tsx";
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
    // One device of exactly that name: there.
    const exact = hits.find(({ name, what }) => what === "device" && name === q);
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
    ...devices.map(({ deviceId }) => ({ href: deviceHref(deviceId), name: deviceId, what: "device" })),
  ];
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
                <p>A device is found by what its id begins with.</p>
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
