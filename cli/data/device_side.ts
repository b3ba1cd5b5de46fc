/**
 * The items of a device's database, through SQLite and beside a running agent: writes are captured and sent like any
 * application's.
 *
 * @module
 */
import { type ModelApi, modelApi } from "../../agent/api/models.ts";
import type { Driver } from "../../agent/sqlite/driver.ts";
import { type Store, storeBeside } from "../../agent/store/store.ts";
import { type OneTableSchema, SyncError } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import { CommandError } from "../command.ts";
import { openFile, withSchema } from "../open_file.ts";
import { toPlainItem, toProperties } from "./plain.ts";
import type { DataSide, Failure, Plain, PlainPage, Size } from "./side.ts";

/** A model's API, for any schema. */
type AnyApi = ModelApi<OneTableSchema, string>;

/** Errors that every other item would get, too: they end the command. */
const fatal: ReadonlySet<string> = new Set(["full", "busy", "io", "corrupt", "altered", "read-only"]);

/**
 * @throws {CommandError} if the file is missing, not a device database, or has a schema that this version can't compile
 */
export function openDeviceSide(path: string, driver: Driver): DeviceSide {
  const file = openFile(path, driver);
  try {
    const { db, schema, identity } = withSchema(file);
    return new DeviceSide(storeBeside(db, schema, identity));
  } catch (error) {
    file.db.close();
    throw error;
  }
}

/** See {@link openDeviceSide}. */
export class DeviceSide implements DataSide {
  readonly batchMax = 500;
  readonly #apis = new Map<string, AnyApi>();

  constructor(private readonly store: Store) {}

  models(): string[] {
    return [...this.store.schema.models.values()].filter(({ onDevice }) => onDevice).map(({ name }) => name);
  }

  properties(name: string): string[] {
    return this.#model(name).fields.filter((field) => !field.template && !field.hidden).map((field) => field.name);
  }

  list(name: string, page: { readonly limit: number; readonly next?: string }): Promise<PlainPage> {
    const { items, next } = this.#api(name).find({}, page);
    return Promise.resolve({ items: items.map((item) => this.#plain(name, item)), next });
  }

  size(name: string): Promise<Size> {
    return Promise.resolve({ items: this.#api(name).count(), isMost: false });
  }

  get(name: string, key: Plain): Promise<Plain | undefined> {
    const item = this.#api(name).get(this.#properties(name, key));
    return Promise.resolve(item && this.#plain(name, item));
  }

  put(name: string, items: readonly Plain[]): Promise<readonly Failure[]> {
    const api = this.#api(name), { db } = this.store, failures: Failure[] = [];
    this.store.tx(() => {
      for (const [at, item] of items.entries()) {
        // An item that replaces another deletes it first: either both happen, or neither.
        db.exec("SAVEPOINT item");
        try {
          api.create(this.#properties(name, item), { exists: null });
        } catch (error) {
          if (error instanceof SyncError && fatal.has(error.code)) throw error;
          if (!db.inTransaction) throw error;
          db.exec("ROLLBACK TO item");
          failures.push({ at, reason: (error as Error).message });
        }
        db.exec("RELEASE item");
      }
    });
    return Promise.resolve(failures);
  }

  update(name: string, properties: Plain): Promise<Plain> {
    return Promise.resolve(this.#plain(name, this.#api(name).update(this.#properties(name, properties))));
  }

  remove(name: string, key: Plain): Promise<boolean> {
    return Promise.resolve(this.#api(name).remove(this.#properties(name, key)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.store.close();
    return Promise.resolve();
  }

  #model(name: string): Model {
    const model = this.store.schema.models.get(name);
    if (model?.onDevice) return model;
    throw new CommandError(`there is no model "${name}" on the device: ${this.models().join(", ")}`);
  }

  #api(name: string): AnyApi {
    let api = this.#apis.get(name);
    if (!api) this.#apis.set(name, api = modelApi<OneTableSchema, string>(this.store, this.#model(name).name));
    return api;
  }

  #plain(name: string, item: unknown): Plain {
    return toPlainItem(this.#model(name), item as Record<string, unknown>);
  }

  // Checked by the API itself: here the model's type is not known.
  // deno-lint-ignore no-explicit-any
  #properties(name: string, item: Plain): any {
    return toProperties(this.#model(name), item);
  }
}
