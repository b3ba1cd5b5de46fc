/**
 * The examples of docs/device-database.md, run as they stand there: shell and Python, in a folder with a device's database.
 * What they need to find is there before them: kept versions of the numbers that they name, and a cloud from where the page
 * comes to comparing with it.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { type Agent, openAgent } from "../agent/open.ts";
import { schema } from "../examples/schema.ts";
import { compileSchema } from "../schema.ts";
import { connect } from "./support/sql.ts";
import { TempDir } from "./support/temp_dir.ts";
import { testWith } from "./support/tools.ts";
import { openTestCloud, type TestCloud } from "./support/test_cloud.ts";

const page = fileURLToPath(new URL("../docs/device-database.md", import.meta.url));
const main = fileURLToPath(new URL("../mod.ts", import.meta.url));

/** The page's blocks of code, with the line each begins at. */
function blocks(): { language: string; code: string; line: number }[] {
  const text = Deno.readTextFileSync(page);
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```/gm)].map((match) => ({
    language: match[1]!,
    code: match[2]!,
    line: text.slice(0, match.index).split("\n").length,
  }));
}

/** The device of the page: without a link, with one, or with no agent at all, as the example is written for. */
class Device implements AsyncDisposable {
  #agent: Agent<typeof schema> | undefined;
  #is: "none" | "offline" | "connected" = "none";

  constructor(readonly path: string, readonly cloud: TestCloud) {}

  async become(wanted: "none" | "offline" | "connected"): Promise<void> {
    if (wanted === this.#is) return;
    await this.#agent?.close();
    this.#agent = undefined;
    this.#is = wanted;
    if (wanted === "none") return;
    const own = { schema, device: "d-1", account: "a-1", path: this.path };
    const link = { mqtt: this.cloud.mqttUrl, password: await this.cloud.token("d-1", "a-1") };
    this.#agent = await openAgent(wanted === "offline" ? own : { ...own, ...link });
    if (wanted === "connected") await this.#agent.sync({ timeoutMs: 20_000 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.become("none");
  }
}

/** Versions that are kept since a moment ago, under the numbers that the page names. */
function keepVersions(path: string): void {
  using db = connect(path);
  const now = Date.now();
  db.prepare("INSERT INTO _rejected(id, model, key, op, item, code, reason, time) VALUES (7, ?, ?, ?, ?, ?, ?, ?)")
    .run("Setting", '{"name":"volume"}', "update", '{"name":"volume","value":8}', "invalid", "value: too loud", now);
  db.prepare("INSERT INTO _conflicts(id, model, key, op, item, why, time) VALUES (3, ?, ?, ?, ?, ?, ?)")
    .run("Setting", '{"name":"python"}', "update", '{"name":"python","value":9}', "stale", now);
}

testWith("sh", "sqlite3", "python3")("docs: every example of the device database's page runs", async () => {
  using dir = new TempDir();
  const compiled = compileSchema(schema);
  await using cloud = await openTestCloud({ schema: compiled });
  const port = await cloud.cloud.serveHttp({ token: "TOKEN" });
  await Deno.writeTextFile(dir.file("schema.json5"), JSON.stringify(compiled.source));
  await using device = new Device(dir.file("device.db"), cloud);
  await device.become("offline");
  const token = await cloud.token("d-1", "a-1");
  const placed = (code: string) =>
    code.replaceAll("deno run -A mod.ts", `${Deno.execPath()} run -A ${main}`)
      .replaceAll("https://HOST", `http://127.0.0.1:${port}`)
      .replaceAll("mqtts://HOST", cloud.mqttUrl)
      .replaceAll("--password TOKEN", `--password ${token}`);

  const found = blocks();
  assert.deepEqual([...new Set(found.map((block) => block.language))].sort(), ["python", "sh"]);
  const outputs: string[] = [];
  for (const { language, code, line } of found) {
    if (code.includes("--mqtt")) await device.become("none");
    else if (code.includes("verify")) await device.become("connected");
    if (code.includes("mod.ts rejected")) keepVersions(device.path);
    const [command, ...args] = language === "sh" ? ["sh", "-e", "-c", placed(code)] : ["python3", "-c", code];
    const { success, stdout, stderr } = await new Deno.Command(command!, { args, cwd: dir.path }).output();
    const [printed, complaint] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assert.ok(success, `the example at line ${line}: ${complaint}${printed}`);
    outputs.push(printed!);
  }
  const all = outputs.join("");
  assert.match(all, /^volume\|7\|20/m);
  assert.match(all, /^False$/m, "a change of a device without a connection has not arrived");
  assert.match(all, /lag_ms = \d/);
  assert.match(all, /^7 {2}\S+Z {2}update Setting \{"name":"volume"\}: invalid: value: too loud$/m);
  assert.match(all, /^7: Setting \{"name":"volume"\} is written again$/m);
  assert.match(all, /^3: Setting \{"name":"python"\} is written again$/m);
  assert.match(all, /^d-1: equal$/m);
  assert.deepEqual(
    (await cloud.items("Setting")).map(({ name, value }) => [name, value]),
    [["python", 9], ["volume", 8]],
    "what was put back is in the cloud",
  );
});
