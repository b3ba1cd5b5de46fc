/**
 * Both orders of a roll-out, and both roll-backs, for every kind of schema change: whatever an application wrote on either
 * side at any time ends on both sides, nothing is rejected or conflicts, and a verification finds no difference.
 */
import assert from "node:assert/strict";
import { compileSchema, SyncError } from "../../schema.ts";
import type { Attributes, Schema } from "../../schema.ts";
import { SkewRig } from "./rig.ts";
import { askVerify, verifyReport } from "../../agent/verify/report.ts";

type Fields = Record<string, Record<string, unknown>>;

/** A schema as its author writes it, cut down to what a change of it is about. */
interface Draft {
  readonly models: Record<string, Fields>;
  readonly process: Record<string, Record<string, unknown>>;
  readonly indexes?: Record<string, unknown>;
}

function fieldsOf(name: string): Fields {
  return {
    pk: { type: "string", value: "d#${deviceId}" },
    sk: { type: "string", value: `${name.toLowerCase()}#\${name}` },
    deviceId: { type: "string", required: true },
    name: { type: "string", required: true },
    v: { type: "number" },
    kind: { type: "string", enum: ["a", "b"] },
  };
}

const plain: Draft = {
  models: { Lamp: fieldsOf("Lamp"), Meter: fieldsOf("Meter"), Notice: fieldsOf("Notice") },
  process: { Lamp: { sync: "both" }, Meter: { sync: "up" }, Notice: { sync: "down" } },
};

function compiled({ models, process, indexes }: Draft, version: string): Schema {
  return compileSchema({
    version,
    indexes: { primary: { hash: "pk", sort: "sk" }, ...indexes },
    params: { isoDates: true, timestamps: true },
    models,
    process,
  });
}

/** The draft with other fields in each model. */
function withFields(more: Record<string, Record<string, unknown> | undefined>, draft = plain): Draft {
  const models = Object.fromEntries(
    Object.entries(draft.models).map(([name, fields]) => {
      const all = { ...fields, ...more };
      return [name, Object.fromEntries(Object.entries(all).filter(([, field]) => field !== undefined)) as Fields];
    }),
  );
  return { ...draft, models };
}

function withModel(name: string, process: Record<string, unknown>, draft = plain): Draft {
  return {
    models: { ...draft.models, [name]: fieldsOf(name) },
    process: { ...draft.process, [name]: process },
  };
}

function withSync(name: string, sync: string): Draft {
  return { ...plain, process: { ...plain.process, [name]: { sync } } };
}

/** What applications write under each version beside `name`: columns on devices, attributes in the cloud. */
interface Kind {
  readonly name: string;
  readonly old: Draft;
  readonly new: Draft;
  readonly oldValues?: Attributes;
  readonly newValues?: Attributes;
  /** Who writes under the new version that the old one can't take: changes of the device wait, those of the cloud are set aside. */
  readonly waitsIf?: "device first";
  /** What the cloud holds when it is rolled back fits no device: it stays set aside, in the open. */
  readonly asideIf?: "cloud first rolled back";
  /** A model goes up under one version only: what waits of it when neither has that version is rejected, in the open. */
  readonly endsUp?: boolean;
  /** What one version writes stands under another attribute than what the other reads. */
  readonly renamed?: boolean;
  /** Of a model that only goes up, a verification can't tell a value from the same one of another type. */
  readonly retyped?: boolean;
}

const extended = withFields({ extra: { type: "string" } });
const kinds: readonly Kind[] = [
  { name: "a field is added", old: plain, new: extended, newValues: { extra: "x" } },
  { name: "a field is removed", old: extended, new: plain, oldValues: { extra: "x" } },
  {
    name: "a required field with a default is added",
    old: plain,
    new: withFields({ mode: { type: "string", required: true, default: "auto" } }),
    newValues: { mode: "manual" },
  },
  {
    name: "a required field with a default is removed",
    old: withFields({ mode: { type: "string", required: true, default: "auto" } }),
    new: plain,
  },
  { name: "a default is added", old: extended, new: withFields({ extra: { type: "string", default: "d" } }) },
  {
    name: "a default is changed",
    old: withFields({ extra: { type: "string", default: "d" } }),
    new: withFields({ extra: { type: "string", default: "e" } }),
  },
  {
    name: "a field becomes required",
    old: extended,
    new: withFields({ extra: { type: "string", required: true } }),
    oldValues: { extra: "y" },
    newValues: { extra: "x" },
  },
  {
    name: "an enum is widened",
    old: plain,
    new: withFields({ kind: { type: "string", enum: ["a", "b", "c"] } }),
    newValues: { kind: "c" },
    waitsIf: "device first",
    asideIf: "cloud first rolled back",
  },
  {
    name: "an enum is narrowed",
    old: withFields({ kind: { type: "string", enum: ["a", "b", "c"] } }),
    new: plain,
    oldValues: { kind: "b" },
    newValues: { kind: "a" },
  },
  {
    name: "a number becomes a text",
    old: plain,
    new: withFields({ v: { type: "string" } }),
    oldValues: { v: 5 },
    newValues: { v: "6" },
    waitsIf: "device first",
    retyped: true,
  },
  {
    name: "a validation is added",
    old: plain,
    new: withFields({ kind: { type: "string", enum: ["a", "b"], validate: "/^a/" } }),
    oldValues: { kind: "a" },
    newValues: { kind: "a" },
  },
  { name: "a two-way model is added", old: plain, new: withModel("Plug", { sync: "both" }) },
  { name: "a model that goes up is added", old: plain, new: withModel("Plug", { sync: "up" }) },
  { name: "a model that comes down is added", old: plain, new: withModel("Plug", { sync: "down" }) },
  { name: "a two-way model is removed", old: withModel("Plug", { sync: "both" }), new: plain },
  { name: "a model that comes down is removed", old: withModel("Plug", { sync: "down" }), new: plain },
  { name: "what went up goes both ways", old: plain, new: withSync("Meter", "both") },
  { name: "what came down goes both ways", old: plain, new: withSync("Notice", "both"), endsUp: true },
  { name: "what went both ways only goes up", old: plain, new: withSync("Lamp", "up") },
  { name: "what went both ways only comes down", old: plain, new: withSync("Lamp", "down"), endsUp: true },
  {
    name: "another policy decides",
    old: plain,
    new: { ...plain, process: { ...plain.process, Lamp: { sync: "both", conflict: "cloud" } } },
  },
  {
    name: "a field becomes unique",
    old: withFields({ slot: { type: "string" } }),
    new: withFields({ slot: { type: "string", unique: true } }),
  },
  {
    name: "a field is unique no more",
    old: withFields({ slot: { type: "string", unique: true } }),
    new: withFields({ slot: { type: "string" } }),
  },
  { name: "an expiry is added", old: plain, new: withFields({ expires: { type: "date", ttl: true } }) },
  { name: "an expiry is removed", old: withFields({ expires: { type: "date", ttl: true } }), new: plain },
  {
    name: "an index is added",
    old: plain,
    new: {
      ...withFields({ gs1pk: { type: "string", value: "k#${kind}" }, gs1sk: { type: "string", value: "n#${name}" } }),
      indexes: { gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } },
    },
  },
  {
    name: "a field gets another attribute name",
    old: extended,
    new: withFields({ extra: { type: "string", map: "x" } }),
    oldValues: { extra: "o" },
    renamed: true,
  },
];

type Order = "cloud first" | "device first";

class Story {
  readonly versions: Record<"old" | "new", Schema>;
  /** By model and name: where it was written, and with what. */
  readonly written: { model: string; name: string; where: "device" | "cloud"; values: Attributes }[] = [];
  #number = 0;

  constructor(readonly rig: SkewRig, readonly kind: Kind, versions: Record<"old" | "new", Schema>) {
    this.versions = versions;
  }

  #valuesOf(schema: Schema): Attributes {
    return (schema === this.versions.new ? this.kind.newValues : this.kind.oldValues) ?? {};
  }

  /** Each side writes something of each model that it has, as its own schema wants it. */
  async write(): Promise<void> {
    const { rig } = this, name = `n${++this.#number}`;
    for (const model of rig.device.schema.models.values()) {
      if (model.sync === "down") continue;
      const values: Attributes = { v: this.#number, ...this.#valuesOf(rig.device.schema) };
      const columns = ["name", ...Object.keys(values)], texts = [`d${name}`, ...Object.values(values)];
      const literals = texts.map((value) => typeof value === "number" ? value : `'${value}'`);
      rig.sql(model.name, `INSERT INTO "${model.name}"(${columns}) VALUES (${literals})`);
      this.written.push({ model: model.name, name: `d${name}`, where: "device", values });
    }
    for (const model of rig.cloudSchema.models.values()) {
      if (model.sync === "up") continue;
      const values: Attributes = { v: this.#number, ...this.#valuesOf(rig.cloudSchema) };
      const typed = model.fields.find((field) => field.name === "v")?.type === "string" ? String(values.v) : values.v!;
      const attributes: Record<string, Attributes[string]> = {};
      for (const [field, value] of Object.entries({ ...values, v: typed })) {
        attributes[model.fields.find((f) => f.name === field)?.attribute ?? field] = value;
      }
      const required = model.fields.filter((f) =>
        f.required && f.default !== undefined && !(f.attribute in attributes)
      );
      for (const field of required) attributes[field.attribute] = field.default as string;
      await rig.put(model.name, { name: `c${name}`, ...attributes });
      this.written.push({ model: model.name, name: `c${name}`, where: "cloud", values });
    }
    await rig.pass();
  }

  /** An update of an old row, on each side, so that changes of what the other knows less of are tried, too. */
  async touch(): Promise<void> {
    const { rig } = this;
    const model = rig.device.schema.models.get("Lamp");
    if (model && model.sync !== "down") rig.sql("Lamp", `UPDATE "Lamp" SET kind = 'a' WHERE name = 'dn1'`);
    await rig.pass();
  }

  /** At rest, under one schema on both sides, everything is everywhere. */
  async settled(asideStays: boolean): Promise<void> {
    const { rig } = this, schema = rig.cloudSchema;
    await rig.pass(600_000);
    for (const table of ["_conflicts", "_outbox", "_inflight", ...(asideStays ? [] : ["_sync_aside"])]) {
      assert.deepEqual(rig.rows(`SELECT * FROM ${table}`), [], table);
    }
    const rejected = rig.rows("SELECT model, key ->> 'name' AS name, reason FROM _rejected");
    assert.deepEqual(
      rejected.filter(({ reason }) => !(this.kind.endsUp && /does not sync up/.test(String(reason)))),
      [],
    );
    assert.doesNotMatch(rig.problem ?? "", /schema/);
    for (const { model: name, name: key, where, values } of this.written) {
      const model = schema.models.get(name);
      if (!model || rejected.some((one) => one.model === name && one.name === key)) continue;
      const item = (await rig.itemsOf(name))[key];
      assert.ok(item, `${name} ${key}, written ${where}, is not in the table`);
      if (item.v !== undefined) assert.equal(String(item.v), String(values.v), `${name} ${key}`);
      // What was there before the model came down stays where it is.
      if (model.sync === "up") continue;
      const [row] = rig.rows(`SELECT * FROM "${name}" WHERE name = '${key}'`);
      if (asideStays && !row) continue;
      assert.ok(row, `${name} ${key}, written ${where}, is not on the device`);
      assert.equal(String(row.v), String(values.v), `${name} ${key}`);
      const { extra } = values;
      const extraField = model.fields.find((field) => field.name === "extra");
      if (extra !== undefined && extraField && !this.kind.renamed) {
        assert.equal(row.extra, extra, `${name} ${key} extra`);
      }
    }
    await this.verified(asideStays);
  }

  async verified(asideStays: boolean): Promise<void> {
    const { rig } = this, { db } = rig.device.store;
    const id = askVerify(db, {});
    rig.device.twin.verify.notice();
    for (let i = 0; i < 40 && verifyReport(db, id).state !== "done"; i++) await rig.pass(2_000);
    const report = verifyReport(db, id);
    assert.equal(report.state, "done");
    const found = rig.rows("SELECT model, key, what, detail FROM _verify")
      .filter(({ model, what }) => !(asideStays && what === "set aside") && !(this.kind.retyped && model === "Meter"));
    assert.deepEqual(found, [], "what a verification finds");
  }
}

const isMigration = (error: unknown) => error instanceof SyncError && error.code === "migration";

for (const kind of kinds) {
  for (const order of ["cloud first", "device first"] as const satisfies readonly Order[]) {
    for (const end of ["rolled out", "rolled back"] as const) {
      Deno.test(`skew: ${kind.name}, ${order}, ${end}`, async () => {
        const versions = { old: compiled(kind.old, "1"), new: compiled(kind.new, "2") };
        await using rig = new SkewRig(versions.old, versions.old);
        const story = new Story(rig, kind, versions);
        await story.write();
        const deploy = (who: "cloud" | "device", schema: Schema) =>
          who === "cloud" ? rig.deployCloud(schema) : rig.deployDevice(schema);
        const first = order === "cloud first" ? "cloud" : "device", second = first === "cloud" ? "device" : "cloud";
        deploy(first, versions.new);
        await story.write();
        await story.touch();
        assert.deepEqual(rig.rows("SELECT * FROM _rejected"), [], "nothing is rejected while the versions differ");
        if (kind.waitsIf === order && order === "device first") assert.match(rig.problem ?? "", /wait: the cloud has/);
        try {
          if (end === "rolled out") deploy(second, versions.new);
          else deploy(first, versions.old);
        } catch (error) {
          // The device refuses rows that don't fit: then there is nothing but to go on, and the other side comes along.
          if (!isMigration(error)) throw error;
          deploy("cloud", rig.device.schema);
        }
        await story.write();
        await story.settled(kind.asideIf === `${order} ${end}`);
      });
    }
  }
}
