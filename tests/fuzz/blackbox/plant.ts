/**
 * Losses that are planted in the files of a round that held, one at a time, after its processes have ended: the fuzzer must
 * notice each. Of an embedded table alone, whose file can be altered.
 *
 * @module
 */
import { copyFileSync, renameSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { keptApart } from "./compare.ts";
import { audit, look } from "./round.ts";
import type { MadeModel } from "./made_schema.ts";
import { tokenOf } from "./observe.ts";
import type { FuzzDevice, System } from "./system.ts";
import { EmbeddedTable, keyText } from "./table.ts";
import { textSql } from "./values.ts";
import { ident } from "./writes.ts";

/** A loss: what is done to which files, and the kind of finding that must tell of it. */
interface Loss {
  readonly name: string;
  readonly kind: string;
  readonly changes: readonly (readonly [file: string, ...sql: string[]])[];
}

/** What was planted, by name, and which of it nobody noticed. */
export interface Planted {
  readonly names: readonly string[];
  readonly unnoticed: readonly string[];
}

/** A device's own version that stands on both sides. */
interface Agreed {
  readonly device: FuzzDevice;
  readonly model: MadeModel;
  readonly token: string;
  readonly hash: string;
  readonly sort: string;
}

const without = (sql: string) => ["UPDATE _sync_flag SET applying = 1", sql];

async function agreedOn(system: System): Promise<Agreed[]> {
  const { devices, table } = await look(system), schema = system.plan.next ?? system.plan.schema;
  return devices.flatMap((state) => {
    const { id, rows } = state;
    const device = system.devices.find((one) => one.id === id)!;
    return schema.models.filter(({ sync, enable, fields }) =>
      sync === "both" && enable === "both" && !fields.some(({ ttl, unique }) => ttl || unique)
    ).flatMap((model) => {
      const apart = keptApart(model, state);
      return [...rows.get(model.name) ?? []].flatMap(([key, { token }]) => {
        if (apart.has(key)) return [];
        if (token === null || system.journal.intents.get(token)?.by !== id) return [];
        if (tokenOf(table.items.get(key)) !== token) return [];
        // A token that several rows have can't be taken away alone.
        if ([...table.items.values()].filter((item) => tokenOf(item) === token).length > 1) return [];
        const [hash, sort] = JSON.parse(key) as [string, string];
        return [{ device, model, token, hash, sort }];
      });
    });
  });
}

function lossesOf(system: System, { device, model, token, hash, sort }: Agreed): Loss[] {
  const cloud = (system.table as EmbeddedTable).path, table = ident(model.name), is = `v = ${textSql(token)}`;
  const at = `hash = ${textSql(hash)} AND sort = ${textSql(sort)}`, has = `item LIKE ${textSql(`%"${token}"%`)}`;
  const nowhere = [`DELETE FROM fuzz_history WHERE ${has}`, `DELETE FROM items WHERE ${has}`] as const;
  const bothPolicies = model.policy === "newest" || model.policy === "cloud";
  const isChanged = system.plan.next?.changed?.includes(model.name) ?? false;
  const isJudged = system.rolledBack.size === 0 && system.lost.length === 0 && !system.logLost && !isChanged;
  const wasLost = system.lost.some((versions) => versions.findLast(({ key }) => key === keyText(hash, sort))?.item);
  return [
    { name: "a row", kind: "different", changes: [[device.path, ...without(`DELETE FROM ${table} WHERE ${is}`)]] },
    {
      name: "a value",
      kind: "different",
      changes: [[device.path, ...without(`UPDATE ${table} SET v = 'x' WHERE ${is}`)]],
    },
    {
      name: "a transaction",
      kind: "lost commit",
      // One of which an application was told: a killed one was told nothing.
      changes: [[device.path, `DELETE FROM app_log WHERE tx = ${textSql(toldOf(system, device))}`]],
    },
    { name: "an item", kind: "different", changes: [[cloud, `DELETE FROM items WHERE ${at}`]] },
    // Nobody else has this version: the book of the device has what it found in the row later, too.
    {
      name: "a version",
      kind: "lost",
      changes: [[cloud, ...nowhere], [device.path, `DELETE FROM _conflicts`, ...latestOnly(token)]],
    },
    ...(wasLost
      ? [{
        name: "what a restored table was to get back",
        kind: "lost",
        changes: [
          [cloud, ...nowhere] as const,
          [
            device.path,
            `DELETE FROM _conflicts`,
            ...without(`DELETE FROM ${table} WHERE ${is}`),
            ...latestOnly(token),
          ] as const,
        ],
      }]
      : []),
    ...(model.scope === "device"
      ? [{
        name: "another's item",
        kind: "isolation",
        changes: [
          [
            cloud,
            `UPDATE fuzz_history SET item = json_set(item, '$.deviceId', 'd9') WHERE ${has}`,
          ] as const,
        ],
      }]
      : []),
    ...(isJudged && bothPolicies
      ? [{
        name: "a removal",
        kind: "revived",
        changes: [
          [
            cloud,
            `INSERT INTO fuzz_history(hash, sort, item) VALUES (${textSql(hash)}, ${textSql(sort)}, NULL)`,
          ] as const,
        ],
      }]
      : []),
  ];
}

function toldOf({ journal }: System, { id }: FuzzDevice): string {
  return [...journal.committed.get(id) ?? []].at(-1) ?? "";
}

/** What the device's application found in the row later is no fate of its own here. */
function latestOnly(token: string): string[] {
  return [
    `UPDATE app_log SET before = replace(before, ${textSql(`"${token}"`)}, '"-"') WHERE before LIKE ${
      textSql(`%"${token}"%`)
    } AND after NOT LIKE ${textSql(`%"${token}"%`)}`,
  ];
}

function cloudLoss(system: System): Loss[] {
  const write = system.journal.cloudWrites[0];
  const cloud = (system.table as EmbeddedTable).path;
  return write
    ? [{
      name: "a write of the cloud's",
      kind: "lost in the cloud",
      changes: [[cloud, `DELETE FROM fuzz_history WHERE item LIKE ${textSql(`%"${write.token}"%`)}`]],
    }]
    : [];
}

/** Plants what can be planted here, one after the other; each is taken back. */
export async function plantLosses(system: System): Promise<Planted> {
  if (!(system.table instanceof EmbeddedTable)) return { names: [], unnoticed: [] };
  const agreed = await agreedOn(system), names: string[] = [], unnoticed: string[] = [];
  const losses = new Map<string, Loss>();
  for (const one of [...agreed.flatMap((each) => lossesOf(system, each)), ...cloudLoss(system)]) {
    if (!losses.has(one.name)) losses.set(one.name, one);
  }
  for (const { name, kind, changes } of losses.values()) {
    for (const [file, ...sql] of changes) alter(file, sql);
    const { findings } = await audit(system, await look(system));
    for (const [file] of changes) {
      renameSync(`${file}.whole`, file);
      for (const end of ["-wal", "-shm"]) rmSync(file + end, { force: true });
    }
    names.push(name);
    system.journal.note("planted", { name, changes, findings });
    if (!findings.some((finding) => finding.kind === kind)) unnoticed.push(name);
  }
  return { names, unnoticed };
}

function alter(file: string, sql: readonly string[]): void {
  copyFileSync(file, `${file}.whole`);
  const db = new DatabaseSync(file);
  try {
    for (const statement of sql) db.exec(statement);
    const changes = Number(db.prepare("SELECT total_changes() AS n").get()!.n);
    if (changes === 0) throw new Error(`nothing was planted by ${sql.join("; ")}`);
  } finally {
    db.close();
  }
}
