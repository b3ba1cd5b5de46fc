/** When a device asks for its next certificate, by whose clock, and what it makes of each answer. */
import assert from "node:assert/strict";
import { KeyFiles } from "../../../agent/credentials/key_files.ts";
import { newKey, requestFor } from "../../../agent/credentials/request.ts";
import { Renewal } from "../../../agent/credentials/renewal.ts";
import type { Renew } from "../../../protocol.ts";
import { testAuthority } from "../../support/authority.ts";
import { TempDir } from "../../support/temp_dir.ts";
import { until } from "../../support/until.ts";

const dayMs = 86_400_000, start = Date.UTC(2026, 0, 1);

interface Device {
  readonly renewal: Renewal;
  readonly asked: Renew[];
  readonly files: KeyFiles;
  reconnects: number;
  nowMs: number;
}

/** A device whose certificate for 90 days was issued at `start`, by its own clock. */
async function device(dir: TempDir, options: { nowMs: number; isOnline?: boolean }): Promise<Device> {
  const { authority } = await testAuthority(() => start);
  const key = newKey(), { cert } = await authority.certify("dev-1", requestFor("dev-1", key), 90 * dayMs);
  const paths = { cert: dir.file("d.pem"), key: dir.file("d-key.pem") };
  Deno.writeTextFileSync(paths.key, key);
  Deno.writeTextFileSync(paths.cert, cert);
  const files = new KeyFiles(paths), asked: Renew[] = [];
  const made: Device = {
    files,
    asked,
    reconnects: 0,
    nowMs: options.nowMs,
    renewal: new Renewal({
      files,
      deviceId: "dev-1",
      send: (message) => options.isOnline !== false && asked.push(message) > 0,
      reconnect: () => void made.reconnects++,
      random: () => 0,
      nowMs: () => made.nowMs,
    }),
  };
  return made;
}

const answer = { type: "renewed", time: start } as const;

/** Connects, and hears the cloud's clock. */
function connected({ renewal }: Device, cloudMs: number): void {
  renewal.connected();
  renewal.heard(cloudMs);
}

Deno.test("renewal: a third of its life before it ends, and not before", async () => {
  using dir = new TempDir();
  for (const [day, asks] of [[1, 0], [59, 0], [60.1, 1], [89, 1]] as const) {
    const nowMs = start + day * dayMs, one = await device(dir, { nowMs });
    connected(one, nowMs);
    assert.equal(one.asked.length, asks, `on day ${day}`);
    one.renewal.disconnected();
  }
});

Deno.test("renewal: by the cloud's time, however wrong the device's clock is", async () => {
  using dir = new TempDir();
  for (const nowMs of [0, Date.UTC(2060, 0, 1)]) {
    const early = await device(dir, { nowMs });
    early.renewal.connected();
    assert.equal(early.asked.length, 0, "nothing is asked before the cloud's time is known");
    early.renewal.heard(start + 10 * dayMs);
    assert.equal(early.asked.length, 0);
    early.renewal.disconnected();
    const late = await device(dir, { nowMs });
    connected(late, start + 80 * dayMs);
    assert.equal(late.asked.length, 1);
    late.renewal.disconnected();
  }
});

Deno.test("renewal: without an answer it asks again later, with the same key, and says so when the end is near", async () => {
  using dir = new TempDir();
  const one = await device(dir, { nowMs: start + 70 * dayMs });
  connected(one, one.nowMs);
  assert.equal(one.renewal.trouble, undefined);
  one.renewal.connected();
  assert.equal(one.asked.length, 1, "not at each connection");
  one.nowMs += 3_600_000;
  one.renewal.connected();
  assert.equal(one.asked.length, 2);
  assert.notEqual(one.asked[0]!.request, one.asked[1]!.request);
  one.nowMs = start + 80 * dayMs;
  assert.match(one.renewal.trouble!, /expires at 2026-04-01.* not renewed yet/);
  one.renewal.disconnected();
});

Deno.test("renewal: a refusal is told with its reason, and asked again when the cloud says", async () => {
  using dir = new TempDir();
  const one = await device(dir, { nowMs: start + 80 * dayMs });
  connected(one, one.nowMs);
  const { request } = one.asked[0]!;
  one.renewal.answered({ ...answer, request: "renew/1", reason: "an answer to another question" });
  one.renewal.answered({ ...answer, request, reason: "no device authority", afterMs: 6 * 3_600_000 });
  assert.match(one.renewal.trouble!, /: no device authority$/);
  one.nowMs += 5 * 3_600_000;
  one.renewal.connected();
  assert.equal(one.asked.length, 1);
  one.nowMs += 2 * 3_600_000;
  one.renewal.connected();
  assert.equal(one.asked.length, 2);
  one.renewal.disconnected();
});

Deno.test("renewal: a certificate that fits is used at once; one that does not is told, and the old one stays", async () => {
  using dir = new TempDir();
  const one = await device(dir, { nowMs: start + 80 * dayMs });
  connected(one, one.nowMs);
  const [{ request, csr }] = one.asked as [Renew], before = one.files.current().cert;
  const { authority } = await testAuthority(() => one.nowMs);
  const wrong = await authority.certify("dev-1", requestFor("dev-1", newKey()), 90 * dayMs);
  one.renewal.answered({ ...answer, request, cert: wrong.cert });
  assert.equal(one.reconnects, 0);
  assert.match(one.renewal.trouble!, /not for the key/);
  assert.equal(one.files.current().cert, before);
  one.nowMs += 2 * 3_600_000;
  one.renewal.connected();
  const again = one.asked[1]!;
  assert.equal(again.csr.length > 0 && csr.length > 0, true);
  const { cert } = await authority.certify("dev-1", again.csr, 90 * dayMs);
  one.renewal.answered({ ...answer, request: again.request, cert });
  assert.equal(one.reconnects, 1);
  assert.equal(one.renewal.hasOlder, true);
  // The broker refuses it: with the old one, at once; another is asked for in an hour.
  assert.equal(one.renewal.refused(), true);
  assert.equal(one.renewal.refused(), false);
  assert.equal(one.files.current().cert, before);
  one.nowMs += 2 * 3_600_000;
  one.renewal.connected();
  assert.equal(one.asked.length, 3);
  one.renewal.disconnected();
});

Deno.test("renewal: a folder that can't be written keeps nobody from syncing, and is told", async () => {
  using dir = new TempDir();
  const one = await device(dir, { nowMs: start + 80 * dayMs });
  // A folder of that name: no file can be put there, whoever tries.
  Deno.mkdirSync(`${dir.file("d-key.pem")}.next/x`, { recursive: true });
  connected(one, one.nowMs);
  assert.equal(one.asked.length, 0);
  assert.match(one.renewal.trouble!, /expires at/);
  one.renewal.disconnected();
});

Deno.test("renewal: a device that stays connected asks when its time has come", async () => {
  using dir = new TempDir();
  const one = await device(dir, { nowMs: start + 60 * dayMs - 50 });
  connected(one, one.nowMs);
  assert.equal(one.asked.length, 0);
  one.nowMs += 100;
  await until("it asks", () => one.asked.length === 1);
  one.renewal.disconnected();
});
