/**
 * What a hostile device says, as payloads on its own topics: batches, questions, parts, and text that no encoder writes.
 *
 * @module
 */
import { deflated } from "../../protocol/deflate.ts";

const utf8 = new TextEncoder();
let n = 0;
/** A number that was not given yet. */
export const fresh = (): number => ++n;
const batch = () => `spy/${++n}`;
export const up = (changes: unknown, more: object = {}) =>
  JSON.stringify({ v: 1, type: "up", batch: batch(), sent: Date.now(), changes, ...more });
export const change = (more: object = {}) => ({
  model: "Own",
  op: "create",
  stamp: Date.now() * 1000,
  item: { id: `spy-${++n}` },
  ...more,
});
export const ask = (type: string, more: object = {}) => JSON.stringify({ v: 1, type, request: batch(), ...more });
/** Text with a name that JSON.stringify would not write. */
export const raw = (item: string) =>
  `{"v":1,"type":"up","batch":"${batch()}","sent":${Date.now()},"changes":[{"model":"Own","op":"create","stamp":${
    Date.now() * 1000
  },"item":{"id":"spy-${++n}",${item}}}]}`;
export const bomb = (text: string) => deflated(utf8.encode(text));
export const part = (id: string, index: number, count: number, body: string) => `#1 ${id} ${index} ${count}\n${body}`;
export const hex = (at: number) => at.toString(16).padStart(16, "0");
