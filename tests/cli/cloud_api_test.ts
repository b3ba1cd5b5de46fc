/**
 * `verify --cloud`: the cloud's API behind a proxy that serves it under a path, over TLS with an authority of its own; and what
 * is said where it can't be reached.
 */
import assert from "node:assert/strict";
import { authorityCert, serverCert, serverKey } from "../support/certificates.ts";
import { openDevice } from "../support/device.ts";
import { freePort } from "../support/mosquitto.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { until } from "../support/until.ts";
import { run } from "./run.ts";
import type { Item } from "../../schema/values.ts";

/** A proxy under `/tw/`; everything else is another service. */
function proxy(port: number) {
  const options = { port: 0, hostname: "127.0.0.1", cert: serverCert, key: serverKey, onListen: () => {} };
  return Deno.serve(options, async (request) => {
    const { pathname, search } = new URL(request.url);
    if (!pathname.startsWith("/tw/api/")) return Response.json({ hello: "another service" });
    const body = request.method === "POST" ? await request.text() : undefined;
    const { method, headers } = request;
    return await fetch(`http://127.0.0.1:${port}${pathname.slice(3)}${search}`, { method, headers, body });
  });
}

Deno.test({
  name: "cli: verify --cloud keeps the URL's path, trusts --ca, and says why an API can't be reached",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    await using device = await openDevice(dir, cloud);
    await device.settle();
    await until("the cloud knows it is connected", async () => {
      const { items } = await cloud.tables.log.query({ index: "primary", hash: "device", limit: 10 });
      return items.some((item) => item.connected === true || item.connected === 1) || device.agent.status().connected;
    });
    const port = await cloud.cloud.serveHttp({ token: "TOKEN" });
    const server = proxy(port);
    try {
      const ca = dir.file("ca.pem");
      Deno.writeTextFileSync(ca, authorityCert);
      const base = `https://localhost:${server.addr.port}`;
      const verify = (url: string, ...more: string[]) =>
        run("verify", "--cloud", url, "--token", "TOKEN", "--all", ...more);
      for (const url of [`${base}/tw`, `${base}/tw/`]) {
        const { code, stdout, stderr } = await verify(url, "--ca", ca);
        assert.deepEqual([code, stderr], [0, ""], stdout);
        assert.match(stdout, /dev-1: equal/);
      }
      const failures: [string[], RegExp][] = [
        [[base, "--ca", ca], /is not an API of a cloud/],
        [[`${base}/tw`], /can't be reached: .*certificate/i],
        [[`http://127.0.0.1:${await freePort()}`], /can't be reached: .*refused/i],
        [["http://no-such-host.invalid"], /can't be reached: .*(dns|lookup|resolve)/i],
        [[`${base}/tw`, "--ca", dir.file("none.pem")], /--ca: .*none\.pem can't be read/],
      ];
      for (const [[url, ...more], reason] of failures) {
        const { code, stderr } = await verify(url!, ...more);
        assert.equal(code, 1);
        assert.match(stderr, reason);
        assert.equal(stderr.trim().split("\n").length, 1);
      }
      assert.equal((await verify(`${base}/tw?x=1`)).code, 2);
    } finally {
      await server.shutdown();
    }
  },
});

Deno.test("cli: verify --cloud --table lists the items that no device can be told of, with the reason", async () => {
  await using cloud = await openTestCloud();
  const put = (item: Item) => cloud.tables.data.write([{ op: "put", item }]);
  const port = await cloud.cloud.serveHttp({ token: "TOKEN" });
  const verify = (...more: string[]) =>
    run("verify", "--cloud", `http://127.0.0.1:${port}`, "--token", "TOKEN", "--table", ...more);
  // Enough for several pages.
  for (let i = 0; i < 1200; i++) {
    await put({ pk: "device#dev-1", sk: `setting#s${i}`, name: `s${i}`, _type: "Setting", deviceId: "dev-1" });
  }
  const clean = await verify();
  assert.deepEqual([clean.code, clean.stdout], [0, "all of 1200 items are identified\n"], clean.stderr);

  await put({ pk: "device#dev-1", sk: "setting#bare", name: "bare" });
  await put({ pk: "somewhere", sk: "setting#lost", name: "lost", _type: "Setting" });
  await put({ pk: "other", sk: "program", _type: "NotOfThisSchema" });
  const { code, stdout } = await verify();
  assert.equal(code, 1);
  assert.match(stdout, /\["device#dev-1","setting#bare"\]: it has no _type\n/);
  assert.match(stdout, /\["somewhere","setting#lost"\]: it is a Setting that names no deviceId/);
  assert.match(stdout, /\n2 of 1203 reach no device\n$/);
  const json = JSON.parse((await verify("--json")).stdout);
  assert.deepEqual([json.read, json.items.length], [1203, 2]);
});
