/**
 * Each feature, against the real library: the schema loads, its tables are made, the item that the library writes becomes a
 * row and comes back as it was, a row becomes the item that the library writes, and the library reads the same properties
 * from it.
 */
import assert from "node:assert/strict";
import { modelApi } from "../../../agent/api/models.ts";
import { openStore, type Store } from "../../../agent/store/store.ts";
import { fromAttributeValues, toAttributeValues } from "../../../cloud/dynamodb/attribute_value.ts";
import { channelOf, compileSchema, completeItem, keyOf, type Model, type Schema, stripItem } from "../../../schema.ts";
import { type Feature, features } from "./features.ts";
import { comparable, Library, type Version } from "./library.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

const identity = { deviceId: "d1", accountId: "a1" };

function sourceOf({ fields, params, process, ours }: Feature, isOurs: boolean): Any {
  const model: Any = {
    pk: { type: String, value: "m#${deviceId}" },
    sk: { type: String, value: "m#${id}" },
    id: { type: String, required: true },
    ...("thing" in fields ? {} : { deviceId: { type: String, required: true } }),
    ...fields,
    ...(isOurs ? ours : {}),
  };
  return {
    format: "onetable:1.1.0",
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk" } },
    params: params ?? {},
    models: { M: Object.fromEntries(Object.entries(model).filter(([, field]) => field !== undefined)) },
    ...(isOurs ? { process: { M: { sync: "both", ...process } } } : {}),
  };
}

/** A device's database of the schema, and what it does with items. */
class Device {
  readonly schema: Schema;
  readonly model: Model;
  readonly store: Store;

  constructor(feature: Feature) {
    this.schema = compileSchema(sourceOf(feature, true));
    this.model = this.schema.models.get("M")!;
    this.store = openStore({ path: ":memory:", schema: this.schema, identity, now: Date.now });
  }

  /** The item of a row that is made of these properties. */
  written(properties: Any): Any {
    this.store.db.exec("DELETE FROM M");
    (modelApi<Any, Any>(this.store, "M") as Any).create(properties);
    return toAttributeValues(completeItem(this.schema, this.model, this.#row(), identity));
  }

  /** An item after a stay in a row. */
  through(item: Any): Any {
    const { schema, model, store } = this;
    const theirs = fromAttributeValues(item), key = keyOf(schema, theirs);
    assert.equal(channelOf(model, theirs), "device:d1");
    const attributes = stripItem(schema, model, theirs, identity);
    store.db.exec("DELETE FROM M");
    store.tx(() => store.applying(() => store.rows(model).put(key, attributes)));
    const back = store.rows(model).merged(store.rows(model).byKey(key)!, attributes);
    return toAttributeValues(completeItem(schema, model, back, identity));
  }

  #row(): Any {
    const [row] = this.store.rows(this.model).after(0, 1);
    return row!.row!.item;
  }
}

function without(value: Any, names: readonly string[] = []): Any {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
}

for (const feature of features) {
  const versions: readonly Version[] = feature.versions ?? ["1.4", "2.3", "2.7"];
  for (const version of versions) {
    Deno.test(`schema: ${feature.name}: as OneTable ${version} has it`, async () => {
      const library = new Library(version, sourceOf(feature, false), "M"), device = new Device(feature);
      const identified = "thing" in feature.fields ? {} : { deviceId: "d1" };
      for (const thing of feature.things) {
        const item = await library.item({ ...identified, ...thing });
        const back = device.through(item), written = device.written(thing);
        assert.deepEqual(comparable(back), comparable(item));
        assert.deepEqual(comparable(without(written, feature.madeUp)), comparable(without(item, feature.madeUp)));
        const read = (of: Any) => comparable(without(library.read(of), feature.madeUp));
        assert.deepEqual(read(back), read(item));
        assert.deepEqual(read(written), read(item));
      }
      device.store.close();
    });
  }
}
