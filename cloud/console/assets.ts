/**
 * The console's styles and scripts: part of the program, served under names with a hash, so that browsers may keep them for
 * ever and a new version is never mixed with an old one. Nothing comes from another host.
 *
 * @module
 */
import { createHash } from "node:crypto";
import htmx from "npm:htmx.org@4.0.1/dist/htmx.min.js" with { type: "text" };
import sse from "npm:htmx.org@4.0.1/dist/ext/hx-sse.min.js" with { type: "text" };
import baseCss from "./assets/base.css" with { type: "text" };
import fleetCss from "./assets/fleet.css" with { type: "text" };
import twinCss from "./assets/twin.css" with { type: "text" };
import twinJs from "./assets/twin.js" with { type: "text" };
import dataCss from "./assets/data.css" with { type: "text" };
import dataJs from "./assets/data.js" with { type: "text" };
import deviceCss from "./assets/device.css" with { type: "text" };
import deviceJs from "./assets/device.js" with { type: "text" };
import liveCss from "./assets/live.css" with { type: "text" };
import liveJs from "./assets/live.js" with { type: "text" };
import fleetJs from "./assets/fleet.js" with { type: "text" };
import baseJs from "./assets/base.js" with { type: "text" };

const javascript = "text/javascript; charset=utf-8", css = "text/css; charset=utf-8";

const files: Readonly<Record<string, { readonly text: string; readonly type: string }>> = {
  "htmx.js": { text: `${htmx}\n${sse}`.replaceAll(/^\/\/# sourceMappingURL=.*$/gm, ""), type: javascript },
  "base.js": { text: baseJs, type: javascript },
  "twin.js": { text: twinJs, type: javascript },
  "data.js": { text: dataJs, type: javascript },
  "device.js": { text: deviceJs, type: javascript },
  "live.js": { text: liveJs, type: javascript },
  "fleet.js": { text: fleetJs, type: javascript },
  "console.css": { text: [baseCss, fleetCss, twinCss, dataCss, deviceCss, liveCss].join("\n"), type: css },
};

const folder = "/console/assets/";
const paths = new Map(
  Object.entries(files).map(([name, { text }]) => {
    const hash = createHash("sha256").update(text).digest("base64url").slice(0, 12);
    return [name, `${folder}${name.replace(/\.(?=\w+$)/, `.${hash}.`)}`];
  }),
);
const byPath = new Map([...paths].map(([name, path]) => [path, files[name]!]));

/** Where a file is served. @throws TypeError for one that is not there */
export function assetPath(name: string): string {
  const path = paths.get(name);
  if (path === undefined) throw new TypeError(`there is no asset ${name}`);
  return path;
}

/** A file by its path; undefined where there is none. */
export function assetAt(path: string): { readonly text: string; readonly type: string } | undefined {
  return byPath.get(path);
}

/** How many bytes browsers load, uncompressed, for these files. */
export function assetBytes(names: Iterable<string> = paths.keys()): number {
  return [...names].reduce((sum, name) => sum + new TextEncoder().encode(files[name]!.text).length, 0);
}
