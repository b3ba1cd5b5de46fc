/**
 * A broker's HTTP API, in the test's process: keeps what it is sent, and answers as it is told.
 *
 * @module
 */

/** A request as it came over the wire. */
export interface Received {
  readonly method: string;
  /** Path and query, not decoded. */
  readonly target: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** See the module. Use with `await using`. */
export class BrokerDouble implements AsyncDisposable {
  readonly requests: Received[] = [];
  answer: () => Response | Promise<Response> = () => Response.json({});
  readonly #server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const { pathname, search } = new URL(request.url);
    const body = new Uint8Array(await request.arrayBuffer());
    this.requests.push({ method: request.method, target: pathname + search, headers: request.headers, body });
    return await this.answer();
  });

  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
