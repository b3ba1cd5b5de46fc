/**
 * The device half's public names.
 *
 * @module
 */
export { Agent, openAgent } from "./agent.ts";
export type { AgentOptions, AgentStatus, WaitOptions, WatchedChange, WatchOptions } from "./agent.ts";
export type { Difference, Kept, KeptApi, KeptList, VerifyOptions, VerifyReport } from "./agent.ts";
export { defaultLimits, type Limits } from "./context.ts";
export type { ModelApi } from "./models.ts";
export type { Clock, Transport, TransportHandlers } from "./ports.ts";
