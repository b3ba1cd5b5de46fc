import assert from "node:assert/strict";
import { Parking } from "../../../cloud/sync/parking.ts";

const bounds = { deviceTasksMax: 3, tasksMax: 5 };

Deno.test("parking: what has nothing to wait for goes on at once", () => {
  assert.equal(new Parking(bounds).wait("d1", undefined), undefined);
});

Deno.test("parking: a device's messages go on in their order, other devices' do not wait for them", async () => {
  const parking = new Parking(bounds), order: string[] = [];
  const first = Promise.withResolvers<void>();
  void parking.wait("d1", first.promise)!.then(() => order.push("d1 first"));
  // Nothing to wait for but what stands before it.
  void parking.wait("d1", undefined)!.then(() => order.push("d1 second"));
  await parking.wait("d2", Promise.resolve())!.then(() => order.push("d2"));
  assert.deepEqual(order, ["d2"]);
  first.resolve();
  for (let i = 0; i < 20; i++) await Promise.resolve();
  assert.deepEqual(order, ["d2", "d1 first", "d1 second"]);
  assert.equal(parking.count, 0);
  assert.equal(parking.wait("d1", undefined), undefined);
});

Deno.test("parking: a device, and all together, take so many places and no more", () => {
  const parking = new Parking(bounds), never = new Promise<void>(() => {});
  const taken = (device: string) => parking.wait(device, never) !== undefined;
  assert.deepEqual([1, 2, 3, 4].map(() => taken("d1")), [true, true, true, false]);
  assert.deepEqual([1, 2, 3].map(() => taken("d2")), [true, true, false]);
  assert.equal(parking.count, 5);
});
