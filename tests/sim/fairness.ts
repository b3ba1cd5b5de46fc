/**
 * Under `newest` the newest wins: where every clock is known well, a change is refused only for the sake of a newer one.
 *
 * @module
 */
import type { Ack } from "../../protocol.ts";
import { jsonEquals, versionOf } from "../../schema.ts";
import type { SimDevice } from "./device.ts";
import type { World } from "./world.ts";

/** How well a device's clock is known at most: offsets up to a second are taken for none. */
const toleranceMs = 1500;

/** Looks at an answer on its way to a device. */
export function fairlyRefused(world: World, device: SimDevice, ack: Ack): void {
  const changes = world.batches.get(`${device.name} ${ack.batch}`) ?? [];
  for (const { at, code, current } of ack.answers) {
    const change = changes[at];
    if (code !== "stale" || !change || !current) continue;
    const model = world.config.schema.models.get(change.model)!;
    if (model.sync !== "both" || model.conflict !== "newest") continue;
    // An item without version and honest time is never judged older (rules §3).
    const updatedMs = model.updatedField ? Date.parse(String(current.item.updated)) : NaN;
    if (!current.version && !(updatedMs <= world.now + 60_000)) continue;
    const key = world.keyText(device.identity, model, String((change.item ?? change.key!).name));
    const source = `${device.identity.deviceId}#${ack.batch.slice(0, ack.batch.lastIndexOf("/"))}`;
    const commit = world.sent.get(`${source} ${change.stamp} ${key}`)?.commit;
    const there = world.history.get(key)?.findLast(({ new: item }) =>
      item !== undefined && item.v === current.item.v && item.w === current.item.w &&
      jsonEquals(versionOf(item) ?? null, current.version ?? null)
    );
    if (!commit || !there) continue;
    const version = versionOf(there.new!);
    // A stamp that an application gave, ahead of its time, is the age that it asks for.
    const theirs = there.raw === undefined && version
      ? world.sent.get(`${version[0]} ${version[1]} ${key}`)?.commit?.at
      : Math.max(there.at, version ? version[1] / 1000 : 0);
    if (theirs === undefined || theirs + toleranceMs >= commit.at) continue;
    world.failed(
      `I2 ${key}: ${JSON.stringify(change)}, committed ${commit.at - theirs} ms later, was refused for ${
        JSON.stringify(current)
      }`,
    );
  }
}
