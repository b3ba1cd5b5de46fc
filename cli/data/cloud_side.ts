/**
 * The items of a cloud, through its HTTP API.
 *
 * @module
 */
import { CommandError } from "../command.ts";
import type { CloudApi } from "../cloud_api.ts";
import type { DataSide, Failure, Plain, PlainPage, Size } from "./side.ts";

/** How often a change is tried again after another writer was faster. */
const triesMax = 5;

/** See {@link DataSide}. */
export class CloudSide implements DataSide {
  readonly batchMax = 200;

  /** @param filter lists the items of one device or account only */
  constructor(
    private readonly api: CloudApi,
    private readonly filter: { readonly device?: string; readonly account?: string } = {},
  ) {}

  models(): undefined {
    return undefined;
  }

  properties(): undefined {
    return undefined;
  }

  async list(model: string, { limit, next }: { readonly limit: number; readonly next?: string }): Promise<PlainPage> {
    const { device, account } = this.filter;
    const query = new URLSearchParams({
      model,
      limit: String(limit),
      ...(device === undefined ? {} : { device }),
      ...(account === undefined ? {} : { account }),
      ...(next === undefined ? {} : { next }),
    });
    return await this.#items(`/api/items?${query}`) as unknown as PlainPage;
  }

  async size(): Promise<Size | undefined> {
    // A cloud of an older version does not know.
    const { status, body } = await this.api.request("/api/size", { answers: [404] });
    const { items } = body as { readonly items?: number };
    return status === 404 || items === undefined ? undefined : { items, isMost: true };
  }

  async get(model: string, key: Plain): Promise<Plain | undefined> {
    return (await this.#find(model, key))?.item;
  }

  async put(model: string, items: readonly Plain[]): Promise<readonly Failure[]> {
    const { results } = await this.#items("/api/items", { method: "PUT", body: { model, items } }) as {
      results: readonly { readonly error?: { readonly message: string } }[];
    };
    return results.flatMap(({ error }, at) => error ? [{ at, reason: error.message }] : []);
  }

  async update(model: string, properties: Plain): Promise<Plain> {
    for (let tries = 1;; tries++) {
      const found = await this.#find(model, properties);
      if (!found) throw new CommandError(`there is no such ${model}`);
      const item = Object.fromEntries(
        Object.entries({ ...found.item, ...properties }).filter(([, value]) => value !== null),
      );
      const { status, body } = await this.api.request("/api/items", {
        method: "PUT",
        body: { model, item, unknown: "keep" },
        headers: { "if-match": found.digest },
        answers: [412],
      });
      if (status !== 412) return (body as { item: Plain }).item;
      if (tries === triesMax) throw new CommandError(`the ${model} was changed meanwhile, ${triesMax} times in a row`);
    }
  }

  async remove(model: string, key: Plain): Promise<boolean> {
    const { item } = await this.#items("/api/items", { method: "DELETE", body: { model, item: key } });
    return item !== null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve(this.api[Symbol.dispose]());
  }

  async #find(model: string, key: Plain): Promise<{ item: Plain; digest: string } | undefined> {
    const query = new URLSearchParams({ model, key: JSON.stringify(key) });
    const { item, digest } = await this.#items(`/api/items/where?${query}`) as { item: Plain | null; digest: string };
    return item === null ? undefined : { item, digest };
  }

  async #items(path: string, options: { method?: string; body?: unknown } = {}): Promise<Record<string, unknown>> {
    const { status, body } = await this.api.request(path, options);
    if (status === 404) {
      throw new CommandError((body as { error?: { message?: string } }).error?.message ?? "the API has no such route");
    }
    return body as Record<string, unknown>;
  }
}
