/**
 * The device's program on ARM64: the bundle that is compiled, with the binary's permissions, on Deno's ARM64 runtime under qemu.
 * `TWINTABLE_ARM64` names a command that runs it (`.ci/run` makes one); each start takes it some ten seconds.
 */
import assert from "node:assert/strict";
import { Program } from "../support/process.ts";
import { count, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { noted } from "../support/tools.ts";
import { statusOf } from "../support/device.ts";
import { writeSchema } from "../support/schema.ts";
import { until } from "../support/until.ts";

const arm64 = Deno.env.get("TWINTABLE_ARM64") || undefined;
const emulatedMs = 240_000;

Deno.test({
  name: "arm64: an agent keeps a device in step both ways, survives kill -9, and is backed up",
  ignore: noted(arm64 ? undefined : "TWINTABLE_ARM64 names no program for ARM64; .ci/run makes one"),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const token = await cloud.token("dev-1", "acme"), path = dir.file("dev-1.db"), schema = writeSchema(dir.path);
    const link = ["--schema", schema, "--mqtt", cloud.mqttUrl, "--password", token];
    const start = () =>
      new Program(["agent", "--device", "dev-1", "--account", "acme", "--db", path, ...link], {}, arm64);
    const wait = (what: string, look: () => unknown) => until(what, look, emulatedMs);
    const arrived = (value: number) =>
      wait(`${value} is on the device`, () => count(path, `SELECT count(*) FROM Command WHERE value = ${value}`) === 1);
    {
      await using agent = start();
      await agent.printed(/agent dev-1 of account acme/, emulatedMs);
      query(path, "INSERT INTO Setting(name, value, text) VALUES ('a', 0.1, 'é')");
      await wait("the row is in the table", async () => (await cloud.items("Setting")).length === 1);
      await cloud.put("Command", { name: "c", value: 2 }, { deviceId: "dev-1" });
      await arrived(2);
      await agent.kill();
    }
    query(path, "INSERT INTO Setting(name, value) VALUES ('b', 9007199254740991)");
    await cloud.put("Command", { name: "c", value: 3 }, { deviceId: "dev-1" });
    await using agent = start();
    await wait(
      "what was written while it was dead is in the table",
      async () => (await cloud.items("Setting")).length === 2,
    );
    await arrived(3);
    await wait("nothing waits", () => statusOf(path).outbox === 0);
    assert.deepEqual((await cloud.items("Setting")).map(({ value, text }) => [value, text]), [
      [0.1, "é"],
      [9007199254740991, undefined],
    ]);
    await using backup = new Program(["backup", "--db", path, "--to", dir.file("copy.db")], {}, arm64);
    await until("the backup is made", () => backup.exited, emulatedMs);
    assert.equal(await backup.ended(), 0, backup.stderr);
    assert.equal(count(dir.file("copy.db"), "SELECT count(*) FROM Setting"), 2);
    assert.equal((await agent.stop()).code, 0);
  },
});
