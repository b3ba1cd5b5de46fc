/**
 * Whether each overwriting in the table was one that the model's policy allows: nothing newer by something older under
 * `newest`, nothing that the device had not seen under `cloud`, and under `device` and `merge` nothing unseen that is not kept.
 *
 * What a device had seen follows from its own book: the version that its row had before each write.
 *
 * @module
 */
import type { Books } from "./account.ts";
import type { AvItem } from "./canon.ts";
import { type Finding, isExpiring } from "./compare.ts";
import type { MadeModel, MadeSchema } from "./made_schema.ts";
import { type DeviceState, seenOf, tokenOf } from "./observe.ts";

/** Clocks that nobody touches agree to this, the way from the clock to the stamp included. */
const slackMs = 2_500;

/** All overwritings that should not have been. */
export function outOfOrder(books: Books): Finding[] {
  const found: Finding[] = [];
  for (const [key, versions] of books.table.history) {
    versions.forEach((item, i) => {
      const old = versions[i - 1], token = tokenOf(item), before = tokenOf(old);
      const device = books.devices.find(({ id }) => id === books.deeds.intents.get(token ?? "")?.by);
      const model = item && modelOf(books.schema, item);
      if (
        !old || !device || !model || model.sync !== "both" || books.schema.changed?.includes(model.name) ||
        token === null || before === null || token === before
      ) {
        return;
      }
      if (isExpiring(model, seenOf(model, books.schema.iso, old), books.nowMs)) return;
      if (ancestors(device, model, key, token).has(before)) return;
      const what = judged(books, device, model, token, before);
      if (what) {
        found.push({
          kind: "order",
          sentence: `${device.id} ${key} (${model.policy}): ${token} over ${before}, ${what}`,
        });
      }
    });
  }
  return found;
}

function modelOf(schema: MadeSchema, item: AvItem): MadeModel | undefined {
  const type = (item._type as { S?: string } | undefined)?.S;
  return schema.models.find(({ name }) => name === type);
}

/** The versions that a device's write was made above: what its row had before it, or what it had removed, and before that. */
function ancestors(device: DeviceState, model: MadeModel, key: string, token: string): Set<string> {
  const found = new Set<string>(), open = [token];
  const log = device.log.filter(({ model: name, before, after }) =>
    name === model.name && before.get(key) !== after.get(key)
  );
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    log.forEach(({ before, after }, i) => {
      if (after.get(key) !== next) return;
      const removal = log.slice(0, i).findLast((earlier) => !earlier.after.has(key));
      const was = before.get(key) ?? removal?.before.get(key);
      if (typeof was !== "string" || found.has(was)) return;
      found.add(was);
      open.push(was);
    });
  }
  return found;
}

function judged(
  { deeds }: Books,
  device: DeviceState,
  { policy, name }: MadeModel,
  token: string,
  before: string,
): string | undefined {
  switch (policy) {
    case "cloud":
      return "which it had not seen";
    case "newest": {
      const mine = deeds.times?.get(token), theirs = deeds.times?.get(before);
      const isOlder = mine && theirs && mine.toMs + slackMs < theirs.fromMs;
      return isOlder ? `which is ${theirs.fromMs - mine.toMs} ms newer` : undefined;
    }
    case "device":
    case "merge":
      return device.kept.some((row) => row.token === before && row.model === name)
        ? undefined
        : "which it had not seen, and did not keep";
  }
}
