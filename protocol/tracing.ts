/**
 * OpenTelemetry: one trace for each change, from its commit on a device to the table and to the other devices.
 *
 *     trace id, root span id = hash of the change's version (source, stamp)
 *
 * The version travels with the change anyway: on the wire, in the item, in the table's stream. So each part makes the same ids
 * by itself, whichever worker handles what, across restarts, brokers and parts of other versions in between; no message has a
 * field more, with tracing on or off. The root span is a name alone: nobody emits it, and each span names it as its parent.
 *
 * On where somebody has registered OpenTelemetry's API in this process: Deno itself with `OTEL_DENO=true`, or an SDK. The global
 * is looked up and nothing is imported (its form is the API's promise among its own versions), so that a device's program
 * does not carry a package for it. Off, a call costs a look at a global.
 *
 * @module
 */
import { hashText } from "../schema/json.ts";
import type { Version } from "./messages.ts";

/** Kinds of spans, as OpenTelemetry numbers them. */
export const spanKind = { internal: 0, server: 1, client: 2, producer: 3, consumer: 4 } as const;

/** What is said of a span. */
export interface SpanOptions {
  readonly kind: number;
  /** Ms since 1970, by the cloud's clock as far as it is known. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number | undefined>>;
  /** Why it failed. */
  readonly fault?: string;
}

interface Span {
  setStatus(status: { code: number; message?: string }): unknown;
  end(time: number): void;
}

interface Tracer {
  startSpan(name: string, options: object, context: object): Span;
}

/** As `@opentelemetry/api` registers itself, in all its versions 1. */
interface Registered {
  readonly trace?: { getTracer(name: string, version?: string): Tracer };
}

const apiKey = Symbol.for("opentelemetry.js.api.1"), spanKey = Symbol.for("OpenTelemetry Context Key SPAN");
const errorStatus = 2;

function tracer(): Tracer | undefined {
  return (globalThis as { [key: symbol]: Registered | undefined })[apiKey]?.trace?.getTracer("twintable");
}

/** Whether spans go anywhere. */
export function isTraced(): boolean {
  return (globalThis as { [key: symbol]: Registered | undefined })[apiKey]?.trace !== undefined;
}

/** The trace of a change, and its root span: 32 and 16 hex digits. */
export function traceOf([source, stamp]: Version): { readonly traceId: string; readonly spanId: string } {
  const text = `${source} ${stamp}`;
  return { traceId: hashText(`trace ${text}`) + hashText(`trace of ${text}`), spanId: hashText(`root ${text}`) };
}

/** Emits a span of a change's trace that is over. */
export function emitSpan(name: string, version: Version, options: SpanOptions): void {
  const { kind, startMs, endMs, attributes, fault } = options;
  const parent = { spanContext: () => ({ ...traceOf(version), traceFlags: 1, isRemote: true }) };
  const context = {
    getValue: (key: symbol) => key === spanKey ? parent : undefined,
    setValue: () => context,
    deleteValue: () => context,
  };
  const known = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const span = tracer()?.startSpan(
    `twintable.${name}`,
    {
      kind,
      startTime: startMs,
      attributes: Object.fromEntries(known.map(([key, value]) => [`twintable.${key}`, value])),
    },
    context,
  );
  if (fault !== undefined) span?.setStatus({ code: errorStatus, message: fault });
  span?.end(Math.max(startMs, endMs));
}
