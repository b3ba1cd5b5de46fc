/**
 * The console's pages, in the order of the navigation. A page is a module with its routes and, where it is in the
 * navigation, its link.
 *
 * @module
 */
import type { PageLink } from "../context.ts";
import type { Routes } from "../mod.tsx";
import * as conflicts from "./conflicts.ts";
import * as fleet from "./fleet.tsx";
import * as data from "./data.tsx";
import * as device from "./device.tsx";
import * as find from "./find.tsx";
import * as jobs from "./jobs.tsx";
import * as live from "./live.tsx";
import * as metrics from "./metrics.tsx";
import * as rejected from "./rejected.ts";
import * as twin from "./twin.tsx";

/** A module of `pages/`. */
export interface PageModule {
  readonly link?: PageLink;
  mount(routes: Routes): void;
}

/** All pages. */
export const pageModules: readonly PageModule[] = [
  twin,
  fleet,
  data,
  live,
  conflicts,
  rejected,
  metrics,
  device,
  jobs,
  find,
];
