/**
 * Who writes during a round: applications on each device, a program that uses the HTTP API, and one that writes the table
 * raw. Each makes a number of writes that the plan says; what was answered is noted.
 *
 * @module
 */
import { Random } from "../../sim/random.ts";
import { type App, PythonApp, ShellApp } from "./apps.ts";
import type { Av, AvItem } from "./canon.ts";
import { type MadeModel, renderKey } from "./made_schema.ts";
import { keyOfItem } from "./table.ts";
import type { FuzzDevice, System } from "./system.ts";
import { makeValue } from "./values.ts";
import { appLogSql, type Intent, keyValues, makeChore, makeTransaction, Tokens } from "./writes.ts";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** What SQLite tells an application that asks for what the schema does not allow, or while somebody else writes. */
const expectedErrors =
  /constraint failed|cannot store|is read-only on the device|refused by Twintable|database is locked|validate|does not match|not allowed|must be/i;

/** The models that an application may write on a device. */
export function writableOn(system: System, device: FuzzDevice): MadeModel[] {
  return system.schemaOf(device).models.filter(({ enable, sync }) => enable !== "cloud" && sync !== "down");
}

/** An application's work on a device. */
export async function runApp(system: System, device: FuzzDevice, app: App, seed: number): Promise<void> {
  const { journal, plan } = system, random = new Random(seed), tokens = new Tokens(`${device.id}/${app.name}`);
  const committed = journal.committed.get(device.id) ?? new Set();
  journal.committed.set(device.id, committed);
  for (let step = 0; step < plan.steps; step++) {
    if (plan.chores && random.chance(0.08)) await runChore(system, device, app, random);
    const transaction = makeTransaction(random, writableOn(system, device), tokens, Date.now());
    journal.meant(transaction.intents);
    const outcome = await app.run(transaction.statements);
    const isCommit = transaction.statements.at(-1) === "COMMIT";
    journal.note("transaction", {
      device: device.id,
      id: transaction.id,
      sql: transaction.statements.slice(1, -1),
      outcome,
    });
    if ("done" in outcome) {
      journal.count(isCommit ? "committed" : "rolled back");
      if (isCommit) {
        committed.add(transaction.id);
        journal.done(transaction.intents);
      }
    } else if ("died" in outcome) journal.count("killed while writing");
    else {
      journal.count("refused by SQLite");
      // The next version of the schema may have taken a column away meanwhile.
      const isGone = plan.next !== undefined && /no column named|no such column/.test(outcome.error);
      if (!isGone && !expectedErrors.test(outcome.error)) {
        journal.complain(`${device.id}: an application was told: ${outcome.error}`);
      }
    }
    await pause(random.below(250));
  }
}

/** Refused where it was done before, or while others have the file in use. */
const expectedOfChores = /duplicate column name|locked|SQL statements in progress/;

async function runChore(system: System, device: FuzzDevice, app: App, random: Random): Promise<void> {
  const chore = makeChore(random, writableOn(system, device)), outcome = await app.run([chore]);
  system.journal.note("chore", { device: device.id, chore, outcome });
  system.journal.count("chores");
  if ("error" in outcome && !expectedOfChores.test(outcome.error)) {
    system.journal.complain(`${device.id}: ${chore}: ${outcome.error}`);
  }
}

/** The applications of a device. */
export function appsOf(device: FuzzDevice): App[] {
  const env = device.clock?.env ?? {};
  return [new PythonApp("py", device.path, env), new ShellApp("sh", device.path, env)];
}

/** Makes the applications' own table on a device. */
export async function prepareDevice(device: FuzzDevice, app: App): Promise<void> {
  const outcome = await app.run(appLogSql);
  if (!("done" in outcome)) throw new Error(`${device.id}: ${JSON.stringify(outcome)}`);
}

interface CloudItem {
  readonly plain: Record<string, unknown>;
  readonly item: AvItem;
  readonly key: { readonly hash: string; readonly sort: string };
  readonly intent: Intent;
}

/** An item of somebody in the cloud, in the API's form and in the table's. */
export function makeCloudItem(random: Random, system: System, model: MadeModel, token: string): CloudItem {
  const owner = random.pick(system.plan.devices), nowMs = Date.now();
  const identity: Record<string, string> = model.scope === "device"
    ? { deviceId: owner.id }
    : model.scope === "account"
    ? { accountId: owner.account }
    : {};
  const key = keyValues(random, model), plain: Record<string, unknown> = { ...identity, ...key, v: token };
  const attributes: Record<string, Av> = { v: { S: token } }, fields: Record<string, string | null> = {};
  let refused = false;
  for (const field of model.fields) {
    if (field.local || random.chance(0.35)) continue;
    const value = makeValue(random, field, nowMs);
    if (value.plain === undefined) continue;
    fields[field.name] = value.canon;
    plain[field.name] = value.plain;
    if (value.canon !== null) attributes[field.attribute] = value.av;
    refused ||= value.refused ?? false;
  }
  // A required field that nobody gave is the API's to fill; whoever writes the table writes it.
  for (const field of model.fields) {
    if (field.required && attributes[field.attribute] === undefined) {
      attributes[field.attribute] = field.type === "number" ? { N: "5" } : { S: "it's" };
    }
  }
  const values: Record<string, string | number> = { ...identity, ...key };
  const { hash, sort } = renderKey(model, values);
  for (const [name, value] of Object.entries(values)) {
    attributes[name] = typeof value === "number" ? { N: String(value) } : { S: value };
  }
  const time: Av = system.plan.schema.iso ? { S: new Date(nowMs).toISOString() } : { N: String(nowMs) };
  const item: AvItem = {
    pk: { S: hash },
    sk: { S: sort },
    ...(model.indexed ? { gs1pk: { S: `gs1#${hash}` }, gs1sk: { S: sort } } : {}),
    _type: { S: model.name },
    ...(model.timestamps ? { created: time, updated: time } : {}),
    ...attributes,
  };
  const intent: Intent = {
    token,
    by: token.split(":")[0]!,
    model: model.name,
    fields,
    time: nowMs,
    ...(refused ? { refused } : {}),
  };
  return { plain, item, key: { hash, sort }, intent };
}

/** The models that somebody in the cloud writes: what only comes up is the devices'. */
function cloudModels(system: System): MadeModel[] {
  return system.schemaOf(system.workers[0]!).models.filter(({ enable, sync }) =>
    enable !== "device" && (sync === "both" || sync === "down" || enable === "cloud")
  );
}

/** A program that uses the HTTP API. */
export async function runApi(system: System, seed: number): Promise<void> {
  const { journal, plan } = system, random = new Random(seed), tokens = new Tokens("api");
  for (let step = 0; step < plan.steps; step++) {
    await pause(random.below(250));
    const models = cloudModels(system), model = models[random.below(models.length)];
    const isRemoval = random.chance(0.25), token = tokens.take();
    if (!model) return;
    const made = makeCloudItem(random, system, model, token);
    if (!isRemoval) journal.meant([made.intent]);
    const method = isRemoval ? "DELETE" : "PUT";
    const answer = await system.api(method, { model: model.name, item: made.plain }).catch((error: Error) => error);
    journal.note("api", {
      method,
      model: model.name,
      item: made.plain,
      answer: answer instanceof Error ? answer.message : answer,
    });
    if (answer instanceof Error) journal.count("api unreachable");
    else if (answer.status === 200 || answer.status === 204) {
      journal.count("api done");
      if (isRemoval) continue;
      journal.cloudWrites.push({ token, key: keyOfItem(made.item) });
      journal.done([made.intent]);
    } else if (answer.status === 400 && made.intent.refused) journal.count("api refused");
    else if (isRemoval && answer.status === 404) journal.count("api not found");
    // While the table is away.
    else if (answer.status === 503) journal.count("api unavailable");
    else {journal.complain(
        `the API answered a ${method} with ${answer.status} ${answer.text}: ${JSON.stringify(made.plain)}`,
      );}
  }
}

/** A program that writes the table past everything. */
export async function runRaw(system: System, seed: number): Promise<void> {
  const { journal, plan, table } = system, random = new Random(seed), tokens = new Tokens("raw");
  for (let step = 0; step < plan.steps; step++) {
    await pause(random.below(350));
    const models = cloudModels(system), model = models[random.below(models.length)], token = tokens.take();
    if (!model) return;
    const { item, key, intent } = makeCloudItem(random, system, model, token);
    const isRemoval = random.chance(0.25);
    // What the cloud's schema refuses of devices a raw writer may write; what DynamoDB refuses nobody can.
    if (intent.refused) continue;
    if (!isRemoval) journal.meant([intent]);
    if (isRemoval) await table.remove(key.hash, key.sort);
    else await table.put(item);
    journal.count(isRemoval ? "raw removals" : "raw puts");
    journal.note("raw", { isRemoval, item: isRemoval ? undefined : item, key });
    if (isRemoval) continue;
    journal.cloudWrites.push({ token, key: keyOfItem(item) });
    journal.done([intent]);
  }
}
