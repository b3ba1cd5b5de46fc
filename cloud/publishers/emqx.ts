/**
 * Publishing through EMQX's REST API (`POST /api/v5/publish`, EMQX 5 and its cloud), with an API key. Payloads go as base64:
 * a part of a large message is not text.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { answeredObject, HttpPublisher, type HttpPublisherOptions, type PublishRequest } from "./http.ts";

/** Options of an {@link EmqxPublisher}. */
export interface EmqxPublisherOptions extends HttpPublisherOptions {
  /** The whole URL of the publish endpoint, without credentials. */
  readonly url: string;
  /** An API key and its secret. */
  readonly key: string;
  readonly secret: string;
}

/** Publishes through EMQX. An answer 202 (nobody subscribes) is a success: an absent device catches up later. */
export class EmqxPublisher extends HttpPublisher {
  protected readonly broker: string;
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(options: EmqxPublisherOptions) {
    super(options);
    this.#url = options.url;
    this.broker = `EMQX at ${new URL(options.url).host}`;
    this.#headers = {
      "authorization": `Basic ${Buffer.from(`${options.key}:${options.secret}`).toString("base64")}`,
      "content-type": "application/json",
    };
  }

  protected request(topic: string, payload: Uint8Array, retain: boolean): PublishRequest {
    const encoded = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("base64");
    const body = { topic, qos: 1, retain, payload: encoded, payload_encoding: "base64" };
    return { url: this.#url, headers: this.#headers, body: new TextEncoder().encode(JSON.stringify(body)) };
  }

  /** `{"id"}`, or `{"reason_code": 16}` if nobody subscribes. @see https://docs.emqx.com/en/emqx/latest/admin/api.html */
  protected isOwnAnswer(body: string): boolean {
    const { id, reason_code: reason } = answeredObject(body) ?? {};
    return typeof id === "string" || typeof reason === "number";
  }
}
