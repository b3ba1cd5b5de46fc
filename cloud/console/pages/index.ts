/**
 * The console's pages, in the order of the navigation. A page is a module with its routes and, where it stands in the
 * navigation, its link.
 *
 * @module
 */
import type { PageLink } from "../context.ts";
import type { Routes } from "../mod.tsx";
import * as fleet from "./fleet.tsx";
import * as data from "./data.tsx";
import * as device from "./device.tsx";
import * as find from "./find.tsx";
import * as live from "./live.tsx";
import * as twin from "./twin.tsx";

/** A module of `pages/`. */
export interface PageModule {
  readonly link?: PageLink;
  mount(routes: Routes): void;
}

/** All pages. */
export const pageModules: readonly PageModule[] = [twin, fleet, data, device, live, find];
