/**
 * The console's styles and scripts: part of the program, served under names with a hash, so that browsers may keep them for
 * ever and a new version is never mixed with an old one. Nothing comes from another host.
 *
 * @module
 */
import { createHash } from "node:crypto";
import htmx from "npm:htmx.org@4.0.1/dist/htmx.min.js" with { type: "text" };
import sse from "npm:htmx.org@4.0.1/dist/ext/hx-sse.min.js" with { type: "text" };
import uplot from "npm:uplot@1.6.32/dist/uPlot.iife.min.js" with { type: "text" };
import uplotCss from "npm:uplot@1.6.32/dist/uPlot.min.css" with { type: "text" };
import baseCss from "./assets/base.css" with { type: "text" };
import fleetCss from "./assets/fleet.css" with { type: "text" };
import twinCss from "./assets/twin.css" with { type: "text" };
import twinJs from "./assets/twin.js" with { type: "text" };
import dataCss from "./assets/data.css" with { type: "text" };
import dataJs from "./assets/data.js" with { type: "text" };
import deviceCss from "./assets/device.css" with { type: "text" };
import deviceJs from "./assets/device.js" with { type: "text" };
import chartsCss from "./assets/charts.css" with { type: "text" };
import chartsJs from "./assets/charts.js" with { type: "text" };
import liveCss from "./assets/live.css" with { type: "text" };
import liveJs from "./assets/live.js" with { type: "text" };
import keptCss from "./assets/kept.css" with { type: "text" };
import keptJs from "./assets/kept.js" with { type: "text" };
import fleetJs from "./assets/fleet.js" with { type: "text" };
import baseJs from "./assets/base.js" with { type: "text" };

const javascript = "text/javascript; charset=utf-8", css = "text/css; charset=utf-8";

/**
 * A style sheet without comments and space between its words that says nothing: a third of what browsers would load. A space
 * before a colon stays, for it means something in a selector.
 */
function compact(text: string): string {
  const words = text.replaceAll(/\/\*[^]*?\*\//g, "").replaceAll(/\s+/g, " ");
  return words.replaceAll(/ ?([{};,]) ?/g, "$1").replaceAll(": ", ":").replaceAll(";}", "}").trim();
}

/** uPlot's own legend and titles are not used: `charts.tsx` has better ones. */
function withoutLegend(text: string): string {
  return text.replaceAll(/\.u-(?:legend|inline|series|title)[^{}]*\{[^{}]*\}/g, "");
}

/** A script of ours without indentation and lines of comment. None has a text over several lines: `assets_test.ts` looks. */
function compactScript(text: string): string {
  return text.replaceAll(/^\s+/gm, "").replaceAll(/^\/[/*].*\n/gm, "");
}

const files: Readonly<Record<string, { readonly text: string; readonly type: string }>> = {
  "htmx.js": { text: `${htmx}\n${sse}`.replaceAll(/^\/\/# sourceMappingURL=.*$/gm, ""), type: javascript },
  "base.js": { text: compactScript(baseJs), type: javascript },
  "uplot.js": { text: uplot, type: javascript },
  "charts.js": { text: compactScript(chartsJs), type: javascript },
  "twin.js": { text: compactScript(twinJs), type: javascript },
  "data.js": { text: compactScript(dataJs), type: javascript },
  "device.js": { text: compactScript(deviceJs), type: javascript },
  "live.js": { text: compactScript(liveJs), type: javascript },
  "kept.js": { text: compactScript(keptJs), type: javascript },
  "fleet.js": { text: compactScript(fleetJs), type: javascript },
  "console.css": {
    text: [baseCss, fleetCss, twinCss, dataCss, deviceCss, liveCss, keptCss, withoutLegend(uplotCss), chartsCss]
      .map(compact).join("\n"),
    type: css,
  },
};

const folder = "/console/assets/";
const paths = new Map(
  Object.entries(files).map(([name, { text }]) => {
    const hash = createHash("sha256").update(text).digest("base64url").slice(0, 12);
    return [name, `${folder}${name.replace(/\.(?=\w+$)/, `.${hash}.`)}`];
  }),
);
const byPath = new Map([...paths].map(([name, path]) => [path, files[name]!]));

/** The address of a file. @throws TypeError for an unknown one */
export function assetPath(name: string): string {
  const path = paths.get(name);
  if (path === undefined) throw new TypeError(`there is no asset ${name}`);
  return path;
}

/** A file by its path; undefined if there is none. */
export function assetAt(path: string): { readonly text: string; readonly type: string } | undefined {
  return byPath.get(path);
}

/** How many bytes browsers load, uncompressed, for these files. */
export function assetBytes(names: Iterable<string> = paths.keys()): number {
  return [...names].reduce((sum, name) => sum + new TextEncoder().encode(files[name]!.text).length, 0);
}
