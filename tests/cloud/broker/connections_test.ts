import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { Client } from "aedes";
import { Devices } from "../../../cloud/broker/connections.ts";

/** As much of a client as is looked at. */
class FakeClient {
  readonly conn = Object.assign(new EventEmitter(), { destroy: () => void this.end() });
  isOpen = true;

  close(): void {}

  end(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.conn.emit("close");
  }

  get client(): Client {
    return this as unknown as Client;
  }
}

const admission = { deviceId: "d1", accountId: "acme" };

Deno.test("devices: a connection that comes and goes hides none before it from a cut", () => {
  for (const order of [[1], [0], [1, 2], [2, 1], [0, 2], []]) {
    const devices = new Devices();
    const clients = [new FakeClient(), new FakeClient(), new FakeClient()];
    for (const { client } of clients) devices.add(client, admission);
    for (const at of order) clients[at]!.end();
    assert.equal(devices.cut("d1"), clients.length - order.length);
    assert.ok(clients.every(({ isOpen }) => !isOpen));
    assert.deepEqual(devices.ids, []);
  }
});

Deno.test("devices: a take-over ends all others and is no cut; who was cut is counted", () => {
  const devices = new Devices();
  const [old, fresh, other] = [new FakeClient(), new FakeClient(), new FakeClient()];
  devices.add(old.client, admission);
  devices.add(fresh.client, admission);
  devices.add(other.client, { ...admission, deviceId: "d2" });
  assert.equal(devices.cut("d1", fresh.client), 1);
  assert.deepEqual([old.isOpen, fresh.isOpen, other.isOpen, devices.cuts], [false, true, true, 0]);
  assert.equal(devices.cut("d1"), 1);
  assert.deepEqual([fresh.isOpen, other.isOpen, devices.cuts], [false, true, 1]);
});
