/**
 * `/rejected`: changes that the cloud refused, by reason. See `kept.tsx`.
 *
 * @module
 */
import type { Routes } from "../mod.tsx";
import { keptLink, mountKept } from "./kept.tsx";

export const link = keptLink("rejected", "r");

/** The page's routes. */
export function mount(routes: Routes): void {
  mountKept(routes, "rejected");
}
