import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { run } from "../cli/run.ts";
import { Program } from "../support/process.ts";
import { count } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { toolsMissing } from "../support/tools.ts";
import { until } from "../support/until.ts";

const noPython = toolsMissing("python3");
const pathOf = (name: string) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

async function output(command: string, args: string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("examples: the Python script and the TypeScript application work against dev, and see each other's cloud", {
  ignore: noPython,
}, async () => {
  using folder = new TempDir();
  const dir = folder.file("state");
  await using dev = new Program(["--dir", dir, "--port", "0", "--mqtt-port", "0"]);
  await dev.printed(/Ctrl-C ends/);
  const [, broker] = await dev.printed(/MQTT broker (\S+)/);
  const database = `${dir}/demo-1.db`;

  const token = (await run("device", "add", "app-1", "--account", "demo", "--dir", dir)).stdout.trim();
  const app = await output(
    Deno.execPath(),
    ["run", "-A", pathOf("app.ts"), "app-1", token, `mqtt://${broker}`],
    folder.path,
  );
  assert.equal(app, "harbour: Pier 3\n0 changes wait for the cloud\n");
  await until("the other device of the account has it", () => count(database, "SELECT count(*) FROM Site"));

  const script = output("python3", [pathOf("telemetry.py"), database, "6"], folder.path);
  await until("the script has started", () => count(database, "SELECT count(*) FROM Setting WHERE name = 'python'"));
  const url = (await dev.printed(/http:\/\/127\.0\.0\.1:\d+/))[0];
  const body = JSON.stringify({ model: "Notice", item: { text: "for all" } });
  const put = await fetch(`${url}/api/items`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body,
  });
  assert.equal(put.status, 200, await put.text());
  const printed = await script;
  assert.match(printed, /^from the cloud: \S+ Notice /m);
  assert.match(printed, /^\d+ changes wait for the cloud$/m);
  await until("the script's telemetry is in the table", async () => {
    const response = await fetch(`${url}/api/items?model=Telemetry&device=demo-1`);
    return (await response.json()).items.some((item: { load: number }) => item.load === 10.5);
  });
});

Deno.test("examples: the script says what to do where there is no device database", { ignore: noPython }, async () => {
  using folder = new TempDir();
  const { code, stderr } = await new Deno.Command("python3", {
    args: [pathOf("telemetry.py"), folder.file("none.db")],
  }).output();
  assert.equal(code, 1);
  assert.match(new TextDecoder().decode(stderr), /Start the agent/);
  assert.doesNotMatch(new TextDecoder().decode(stderr), /Traceback/);
});
