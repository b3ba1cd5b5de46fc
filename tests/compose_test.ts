/**
 * `compose.yaml`: hardened and consistent; and all its services as processes, in their images' roots (read-only, as uid 1993), sync
 * two devices over TLS.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compose, Composed, exampleEtc, startOrder } from "./support/compose.ts";
import { chrootMissing, stages } from "./support/dockerfile.ts";
import { binary } from "./support/process.ts";
import { count, query } from "./support/sql.ts";
import { TempDir } from "./support/temp_dir.ts";
import { missingTools, noted, unreachableIn } from "./support/tools.ts";
import { until } from "./support/until.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const services = Object.entries(compose.services);
/** The keys of a service by the Compose specification that this file uses. One that is misspelt is not among them. */
const known =
  "image build user read_only cap_drop security_opt network_mode environment entrypoint command volumes ports restart " +
  "healthcheck depends_on tmpfs";

Deno.test("compose: every service is pinned, without rights, on a read-only root, and refers to what there is", () => {
  assert.deepEqual(Object.keys(compose.services).filter((name) => /^agent/.test(name)), ["agent-1", "agent-2"]);
  for (const [name, service] of services) {
    assert.deepEqual(Object.keys(service).filter((key) => !known.split(" ").includes(key)), [], name);
    assert.equal(service.read_only, true, name);
    assert.deepEqual(service.cap_drop, ["ALL"], name);
    assert.deepEqual(service.security_opt, ["no-new-privileges:true"], name);
    // AWS's own image has a user of its own.
    if (name !== "dynamodb") assert.equal(service.user, "1993:1993", name);
    if (service.build) {
      assert.ok(stages.has(service.build.target), name);
      assert.equal(service.image, `twintable-${service.build.target}`);
    } else assert.match(service.image, /:\d+\.\d+\.\d+$/, `${name}: a version, not a moving tag`);
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      const wanted = compose.services[other]!;
      assert.ok(wanted, `${name} waits for ${other}`);
      if (condition === "service_healthy") assert.ok(wanted.healthcheck, `${other} has a health check`);
      else assert.deepEqual([condition, wanted.restart], ["service_completed_successfully", "no"], other);
    }
    for (const volume of service.volumes ?? []) {
      const [source, target, mode] = volume.split(":");
      assert.match(target!, /^\//);
      if (source!.startsWith(".")) {
        assert.ok(existsSync(`${root}/${source}`), volume);
        assert.equal(mode, "ro", `${name}: the configuration is read only`);
      } else assert.ok(source! in compose.volumes, `${name}: the volume ${source} is declared`);
    }
    const shared = service.network_mode?.match(/^service:(.*)$/)?.[1];
    if (shared) {
      assert.ok(shared in compose.services);
      assert.equal(service.ports, undefined, `${name}: ports belong to ${shared}, whose network it is`);
    }
  }
  const order = startOrder(compose.services);
  assert.ok(order.indexOf("dynamodb") < order.indexOf("table") && order.indexOf("mosquitto") < order.indexOf("cloud"));
});

const missing = binary === undefined
  ? "TWINTABLE_BINARY names no compiled program"
  : missingTools("mosquitto", "java", "openssl", "unshare", "nsenter", "ip") ?? chrootMissing();

Deno.test({
  name:
    "compose: its services, as processes on read-only roots as uid 1993, sync two devices over TLS, and start a second time",
  ignore: noted(missing),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    Deno.chmodSync(dir.path, 0o755);
    await using all = new Composed(dir.path, binary!, await exampleEtc(dir.file("etc")));
    try {
      await all.prepare();
    } catch (error) {
      if (noted(unreachableIn((error as Error).message))) return;
      throw error;
    }
    const order = startOrder(compose.services);
    for (const name of order) await all.start(name);

    const { success, stderr } = await all.inside("cloud", ["sh", "-c", "echo x > /app/mod.ts"]).output();
    assert.equal(success, false);
    assert.match(new TextDecoder().decode(stderr), /Read-only file system/);
    for (const name of ["cloud", "agent-1", "agent-2"]) {
      await until(`${name} is healthy`, () => all.isHealthy(name), 60_000).catch((error) => {
        throw new Error(`${error.message}: ${all.running.get(name)!.said}`);
      });
    }

    for (const [name, { child }] of all.running) {
      if (name === "dynamodb") continue;
      assert.match(Deno.readTextFileSync(`/proc/${child.pid}/status`), /^Uid:\t1993\t1993\t1993\t1993$/m, name);
    }

    const token = Deno.readTextFileSync(dir.file("etc/api-token")).trim();
    const api = async (script: string) => {
      const headers = JSON.stringify({ authorization: `Bearer ${token}`, "content-type": "application/json" });
      const code = `const headers = ${headers}; const api = "http://127.0.0.1:7300/api/items"; ${script}`;
      const { stdout, stderr } = await all.inNetwork(Deno.execPath(), ["eval", "--no-config", code]).output();
      const said = new TextDecoder().decode(stdout);
      assert.ok(said, new TextDecoder().decode(stderr));
      return JSON.parse(said);
    };
    const file = (n: number) => `${all.volume(`device-${n}`)}/device.db`;
    for (const n of [1, 2]) query(file(n), `INSERT INTO Event(message) VALUES ('from d-${n}')`);
    await until("both events are in the table", async () => {
      const { items } = await api("console.log(await (await fetch(`${api}?model=Event`, { headers })).text())");
      return items.length === 2;
    }, 60_000);
    const command = { model: "Command", item: { deviceId: "d-2", name: "interval", value: 5 } };
    await api(
      `console.log((await fetch(api, { method: "PUT", headers, body: ${
        JSON.stringify(JSON.stringify(command))
      } })).status)`,
    );
    const commands = (n: number) => count(file(n), "SELECT count(*) FROM Command WHERE value = 5");
    await until("the command is on its device", () => commands(2) === 1, 60_000);
    assert.equal(commands(1), 0, "and on no other");

    const tokens = () => [1, 2].map((n) => Deno.readTextFileSync(`${all.volume(`device-${n}`)}/token`));
    const before = tokens();
    for (const name of order.filter((one) => compose.services[one]!.restart === "no")) await all.start(name);
    assert.deepEqual(tokens(), before, "a second start keeps what the first one made");
    assert.match(before[0]!, /^[\w-]{43}\n$/);
  },
});
