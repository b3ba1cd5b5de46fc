/**
 * Who an item belongs to: fields of any name, ids told by the key alone, and keys in which no two devices meet.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { modelApi } from "../../agent/api/models.ts";
import { openStore } from "../../agent/store/store.ts";
import { isOwn } from "../../cloud/sync/visible.ts";
import { channelOf, compileSchema, completeItem, type Item, renderKey, SchemaError, SyncError } from "../../schema.ts";
import { type Loose, schemaOf } from "./fixture.ts";

const renamed = { params: { identity: { deviceId: "thing", accountId: "orgId" } } };
const fields: Loose = {
  pk: { type: String, value: "org#${orgId}" },
  sk: { type: String, value: "thing#${thing}#${id}" },
  deviceId: { type: String },
  thing: { type: String, required: true },
  orgId: { type: String, required: true },
};

Deno.test("identity: params.identity names the fields, and process those of one model", () => {
  const source = schemaOf(fields, undefined, renamed);
  const m = compileSchema(source).models.get("M")!;
  assert.deepEqual([m.scope, m.identityFields, m.keyFields], ["device", ["orgId", "thing"], ["id"]]);
  assert.equal(m.enumeration?.sortPrefix?.text, "thing#${thing}#");
  const own = schemaOf(fields, { sync: "both", identity: { deviceId: "thing", accountId: "orgId" } });
  assert.deepEqual(compileSchema(own).models.get("M")!.identityFields, ["orgId", "thing"]);
  // Without being told, the names are data, and the model is global: it can't be listed by them.
  assert.throws(() => compileSchema(schemaOf(fields)), /must name no field\. This would do: in the model "gs1pk"/);
});

Deno.test("identity: a device's row takes its own ids by default, and refuses another's", () => {
  const schema = compileSchema(schemaOf(fields, undefined, renamed));
  const store = openStore({
    path: ":memory:",
    schema,
    identity: { deviceId: "d1", accountId: "a1" },
    now: Date.now,
  });
  store.db.exec("INSERT INTO M(id) VALUES ('x')");
  const row = store.db.prepare("SELECT thing, orgId, deviceId, pk, sk FROM M").get();
  assert.deepEqual({ ...row }, { thing: "d1", orgId: "a1", deviceId: null, pk: "org#a1", sk: "thing#d1#x" });
  assert.throws(() => store.db.exec("INSERT INTO M(id, thing) VALUES ('y', 'd2')"), /rows of thing d1, orgId a1 only/);
  store.close();
});

Deno.test("identity: an item that lacks the attribute belongs to whom its key says", () => {
  const schema = compileSchema(schemaOf(fields, undefined, renamed)), m = schema.models.get("M")!;
  const bare: Item = { pk: "org#a1", sk: "thing#d1#x#y", id: "x#y", _type: "M" };
  assert.equal(channelOf(m, bare), "device:d1");
  assert.ok(isOwn(schema, m, bare, { deviceId: "d1", accountId: "a1" }));
  assert.ok(!isOwn(schema, m, bare, { deviceId: "d2", accountId: "a1" }));
  assert.ok(!isOwn(schema, m, { ...bare, thing: "d2" }, { deviceId: "d1", accountId: "a1" }), "the attribute counts");
  assert.equal(channelOf(m, { ...bare, sk: "other#d1" }), undefined);
});

Deno.test("identity: a key that does not tell where an id ends is refused", () => {
  const key = (pk: string, sk: string) =>
    schemaOf({ pk: { type: String, value: pk }, sk: { type: String, value: sk } }, { sync: "up" });
  for (const [pk, sk] of [["${deviceId}${id}", "x"], ["m", "${id}${deviceId}x"], ["${deviceId:8:.}", "${id}"]]) {
    assert.throws(() => compileSchema(key(pk!, sk!)), (error) => {
      assert.ok(error instanceof SchemaError);
      assert.match(error.problems.join(), /does not tell where \$\{deviceId\} begins and ends/);
      return true;
    });
  }
  const warned = compileSchema(key("d:${deviceId}:${id}", "x"));
  assert.match(warned.warnings.join(), /separates ids by ":", which ids may have/);
  const m = warned.models.get("M")!;
  assert.equal(renderKey(m, { id: "x" }, { deviceId: "a:b", accountId: "a" }), undefined);
  assert.ok(renderKey(m, { id: "x" }, { deviceId: "a.b", accountId: "a" }));
  assert.throws(() => completeItem(warned, m, { id: "x" }, { deviceId: "a:b", accountId: "a" }), (error) => {
    assert.ok(error instanceof SyncError && error.code === "invalid");
    assert.match(error.message, /":", which separates ids there/);
    return true;
  });
});

Deno.test("identity: two devices, or accounts, never meet in a key, whatever separators their ids and values have", () => {
  const part = fc.constantFrom("${deviceId}", "${accountId}", "${id}", "${name}", ":", "#", "-", "d", ".", "|", "_");
  const template = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(""));
  const id = fc.string({ unit: fc.constantFrom("a", "d", ":", "-", "_", "."), minLength: 1, maxLength: 4 });
  const value = fc.string({ unit: fc.constantFrom("a", "d", ":", "-", "_", ".", "#", "|"), maxLength: 4 });
  const who = fc.record({ deviceId: id, accountId: id });
  const values = fc.record({ id: value, name: value });
  let compiled = 0, rendered = 0;
  fc.assert(
    fc.property(
      template,
      template,
      fc.array(fc.tuple(who, values), { minLength: 2, maxLength: 12 }),
      (pk, sk, items) => {
        let schema;
        try {
          schema = compileSchema(schemaOf({
            pk: { type: String, value: pk },
            sk: { type: String, value: sk },
            accountId: { type: String, required: true },
            name: { type: String, required: true },
          }, { sync: "up" }));
        } catch (error) {
          assert.ok(error instanceof SchemaError);
          return;
        }
        compiled++;
        const m = schema.models.get("M")!;
        if (m.scope === "global") return;
        const owners = new Map<string, string>();
        for (const [identity, attributes] of items) {
          const key = renderKey(m, attributes, identity);
          if (!key) continue;
          rendered++;
          const owner: string = m.scope === "device" ? identity.deviceId : identity.accountId;
          assert.equal(owners.get(JSON.stringify(key)) ?? owner, owner, `${pk} ${sk} ${JSON.stringify(key)}`);
          owners.set(JSON.stringify(key), owner);
          const bare = { pk: key[0], sk: key[1], _type: "M" };
          assert.equal(channelOf(m, bare), `${m.scope}:${owner}`, "the key alone says whose it is");
        }
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(compiled > 300 && rendered > 300, `${compiled} schemas, ${rendered} keys`);
});

Deno.test("identity: unique within a scope is unique among the rows that render it alike", () => {
  const schema = compileSchema(schemaOf({
    room: { type: String },
    seat: { type: Number, unique: true, scope: "${room}" },
  }));
  const store = openStore({
    path: ":memory:",
    schema,
    identity: { deviceId: "d1", accountId: "a1" },
    now: Date.now,
  });
  // deno-lint-ignore no-explicit-any
  const api = modelApi<any, any>(store, "M") as any;
  api.create({ id: "1", room: "a", seat: 1 });
  api.create({ id: "2", room: "b", seat: 1 });
  assert.throws(() => api.create({ id: "3", room: "a", seat: 1 }), /UNIQUE/i);
  store.db.exec("INSERT OR REPLACE INTO M(id, room, seat) VALUES ('4', 'a', 1)");
  assert.deepEqual(store.db.prepare("SELECT id FROM M ORDER BY id").all().map((row) => row.id), ["2", "4"]);
  const removed = store.db.prepare("SELECT key FROM _outbox WHERE key IS NOT NULL").all();
  assert.equal(removed.length, 1, "the evicted row's removal is captured");
  store.close();
});
