/** `/metrics` and `/readyz` of a worker; Prometheus' own tool judges the text. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { startCloud } from "../../cloud/mod.ts";
import { openAgent } from "../../agent/open.ts";
import { compileSchema } from "../../schema.ts";
import { schemaSource } from "../support/report_schema.ts";
import { testWith } from "../support/tools.ts";
import { until } from "../support/until.ts";

/** With notifications, whose metrics are by receiver. */
const source = {
  ...schemaSource,
  process: { ...schemaSource.process, Note: { ...schemaSource.process.Note, notify: true } },
};

async function withWorker(body: (get: (path: string) => Promise<Response>) => Promise<void>): Promise<void> {
  await using cloud = await startCloud({
    schema: compileSchema(source),
    table: "embedded::memory:",
    broker: { host: "127.0.0.1", port: 0 },
    http: { host: "127.0.0.1", port: 0 },
  });
  const password = await cloud.registry.add("d-1", "acme");
  const mqtt = `mqtt://127.0.0.1:${cloud.mqttPort}`;
  const agent = await openAgent({
    schema: source,
    device: "d-1",
    account: "acme",
    path: ":memory:",
    mqtt,
    password,
  });
  try {
    agent.model("Note").create({ id: "1" });
    agent.model("Note").create({ id: "2" });
    await agent.flush({ timeoutMs: 20_000 });
    await body((path) => fetch(`http://127.0.0.1:${cloud.httpPort}${path}`));
  } finally {
    await agent.close();
  }
}

Deno.test("metrics: a worker shows how changes were answered, how long its tables took, and what it has open", async () => {
  await withWorker(async (get) => {
    const scrape = async () => await (await get("/metrics")).text();
    await until("the stream was passed on", async () => /twintable_records_read_total [1-9]/.test(await scrape()));
    const text = await scrape();
    assert.match(text, /^twintable_change_answers_total\{model="Note",code="ok"\} 2$/m);
    assert.match(text, /^twintable_table_request_duration_seconds_count\{table="data",op="write"\} [1-9]/m);
    assert.match(text, /^twintable_broker_connected 1$/m);
    assert.match(text, /^twintable_connections [3-9]$/m);
    assert.match(text, /^twintable_resident_bytes \d{7,}$/m);
    assert.match(text, /^twintable_stream_last_passed_timestamp_seconds \d+/m);
    // A second scrape counts nothing twice.
    assert.match(await scrape(), /^twintable_changes_received_total 2$/m);
  });
});

Deno.test("metrics: the dashboard asks for nothing that a worker does not show", async () => {
  const url = new URL("../../docs/grafana-dashboard.json", import.meta.url);
  const names = new Set(Deno.readTextFileSync(url).match(/twintable_\w+/g));
  assert.ok(names.size > 10);
  await withWorker(async (get) => {
    const text = await (await get("/metrics")).text();
    const missing = [...names].filter((name) => !new RegExp(`^${name}[ {]|^# TYPE ${name} `, "m").test(text));
    assert.deepEqual(missing, []);
  });
});

Deno.test("readyz: a worker that reaches its broker and tables is ready", async () => {
  await withWorker(async (get) => {
    const ready = await get("/readyz");
    assert.deepEqual([ready.status, await ready.text()], [200, "ready\n"]);
    assert.equal((await get("/healthz")).status, 200);
  });
});

testWith("promtool")("metrics: Prometheus' own check finds nothing to say", async () => {
  await withWorker(async (get) => {
    const text = await (await get("/metrics")).text();
    const child = new Deno.Command("promtool", {
      args: ["check", "metrics"],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
    const { code, stdout, stderr } = await child.output();
    const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.deepEqual([code, said], [0, ""]);
  });
});

testWith("promtool")("metrics: the alerts in docs/ are rules, and name metrics that there are", async () => {
  const file = fileURLToPath(new URL("../../docs/prometheus-alerts.yml", import.meta.url));
  const { code, stderr } = await new Deno.Command("promtool", { args: ["check", "rules", file], stderr: "piped" })
    .output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const named = [...(await Deno.readTextFile(file)).matchAll(/twintable_\w+/g)].map(([name]) => name);
  await withWorker(async (get) => {
    const scrape = async () => await (await get("/metrics")).text();
    await until("it sends notifications", async () => /^twintable_notifications_oldest/m.test(await scrape()), 30_000);
    const text = await scrape();
    for (const name of named) {
      assert.match(text, new RegExp(`^(# TYPE )?${name.replace(/_bucket$/, "")}[ {]`, "m"), name);
    }
  });
});
