/**
 * Readers: applications that subscribe to notifications (`notify` in the schema) at the embedded broker, by an API token
 * with the scope `read`: its name as the user name, the token as the password, and a client id of
 * {@link readerPrefix} and that name, alone or with a slash and more, which no device's id can be. A reader may subscribe
 * to the topics of notifications, and nothing else; it is cut when its token is no longer valid. No token's holder can
 * displace another's readers, or use up all connections.
 *
 * @module
 */
import type { Client } from "npm:aedes@^1.2.0";
import { Log } from "../../protocol/log.ts";

/** Of a reader's client id. */
export const readerPrefix = "reader/";

/** Who may read, and what. */
export interface ReaderRights {
  /** Filters, each of which may be subscribed to exactly as it is here. */
  readonly filters: readonly string[];
  /** The bearer of a token that may read: whether it still may. Undefined: it may not. */
  find(name: string, token: string): (() => boolean) | undefined;
  /** Is told of whoever has shown a wrong token. */
  failed(address: string | undefined): void;
}

/** Readers of a token at once: each gets every notification. */
export const readersMax = 100;
/** How often tokens are looked at. */
const lookEveryMs = 1_000;
const log = new Log("broker");

/** The readers that are connected. */
export class Readers {
  readonly #open = new Map<Client, { readonly name: string; readonly mayRead: () => boolean }>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Tracks a connection until its socket is closed. */
  add(client: Client, name: string, mayRead: () => boolean): void {
    this.#open.set(client, { name, mayRead });
    client.conn.once("close", () => {
      this.#open.delete(client);
      if (this.#open.size === 0) this.close();
    });
    this.#timer ??= setInterval(() => this.#look(), lookEveryMs);
  }

  /** Whether one more may use this token. */
  hasRoom(name: string): boolean {
    return [...this.#open.values()].filter((one) => one.name === name).length < readersMax;
  }

  #look(): void {
    for (const [client, { name, mayRead }] of this.#open) {
      if (mayRead()) continue;
      log.info("cut the reader {name}: its token is no longer valid", { name });
      client.close();
      client.conn.destroy();
    }
  }

  /** Looks no more. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
