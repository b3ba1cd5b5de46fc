/**
 * `/conflicts`: versions that lost to a newer one. See `kept.tsx`.
 *
 * @module
 */
import type { Routes } from "../mod.tsx";
import { keptLink, mountKept } from "./kept.tsx";

export const link = keptLink("conflicts", "c");

/** The page's routes. */
export function mount(routes: Routes): void {
  mountKept(routes, "conflicts");
}
