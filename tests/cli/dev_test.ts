import assert from "node:assert/strict";
import { choosePort } from "../../cli/ports.ts";
import { Program } from "../support/process.ts";
import { count, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { toolsMissing } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { example, run } from "./run.ts";

const noShell = toolsMissing("bash", "sqlite3", "curl");

/** `dev` on free ports; resolves once it has printed everything. */
async function startDev(dir: string, ...args: string[]): Promise<{ dev: Program; url: string }> {
  const dev = new Program(["--dir", dir, "--port", "0", "--mqtt-port", "0", ...args]);
  await dev.printed(/Ctrl-C ends/);
  const [url] = await dev.printed(/http:\/\/127\.0\.0\.1:\d+/);
  return { dev, url };
}

/** Runs a line that `dev` printed, as a newcomer would: pasted into a shell. */
async function paste(line: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("bash", { args: ["-c", line] }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

async function items(url: string, query: string): Promise<Record<string, unknown>[]> {
  const response = await fetch(`${url}/api/items?${query}`);
  assert.equal(response.status, 200);
  return (await response.json()).items;
}

Deno.test(
  "dev: a newcomer's two lines work as printed, and the demo device obeys the command",
  { ignore: noShell },
  async () => {
    using folder = new TempDir();
    const dir = folder.file("state of dev");
    const { dev, url } = await startDev(dir);
    await using _dev = dev;
    const database = `${dir}/demo-1.db`;

    const [onDevice] = await dev.printed(/sqlite3 .*/);
    await paste(onDevice);
    const event = await until("the event is in the table", async () => {
      return (await items(url, "model=Event&device=demo-1")).find(({ message }) => message === "hello from sqlite3");
    });
    assert.equal(event.severity, "warn");
    await dev.printed(/demo-1 → table +Event event#.*hello from sqlite3/);

    const [inCloud] = await dev.printed(/curl .*/);
    assert.equal(JSON.parse(await paste(inCloud)).item.value, 5);
    await until(
      "the command is on the device",
      () => count(database, "SELECT count(*) FROM Command WHERE name = 'interval'"),
    );
    await dev.printed(/table → demo-1 +Command command#interval/);

    const measured = await until("telemetry is in the table", async () => {
      return (await items(url, "model=Telemetry&device=demo-1"))[0];
    });
    assert.ok(Number(measured.memory) > 0 && Number(measured.memory) <= 100);
    assert.ok("expires" in measured);
    if (Deno.build.os === "linux") assert.ok("lo" in (measured.network as object));

    // An interval of 5 s: two rows in a row that are that far apart, and none nearer behind the command.
    const apart = await until("the interval is obeyed", () => {
      const times = query(database, "SELECT created FROM Telemetry ORDER BY _id DESC LIMIT 2").map(({ created }) =>
        Date.parse(String(created))
      );
      return times.length === 2 && times[0]! - times[1]! > 3_000 ? times[0]! - times[1]! : undefined;
    }, 20_000);
    assert.ok(apart < 9_000, `${apart} ms`);

    const status = await dev.stop("SIGINT");
    assert.equal(status.code, 0, dev.stderr);
    assert.match(dev.stdout, /demo-1: closed/);
    assert.equal(dev.stderr, "");
  },
);

Deno.test("dev: a second start goes on where the first was, after Ctrl-C and after kill -9", async () => {
  using folder = new TempDir();
  const dir = folder.file("state");
  const database = `${dir}/demo-1.db`;
  {
    const { dev } = await startDev(dir);
    await using _dev = dev;
    await until("settings are made", () => count(database, "SELECT count(*) FROM Setting") === 3);
    assert.equal((await dev.stop("SIGTERM")).code, 0);
  }
  const tokens = await Deno.readTextFile(`${dir}/tokens.json`);
  assert.equal((await Deno.stat(`${dir}/tokens.json`)).mode! & 0o777, 0o600);
  // An application writes while nothing runs.
  query(database, "UPDATE Setting SET value = 41 WHERE name = 'load'");
  {
    const { dev, url } = await startDev(dir);
    await using _dev = dev;
    await until("the change made offline is in the table", async () => {
      return (await items(url, "model=Setting&device=demo-1")).some(({ name, value }) =>
        name === "load" && value === 41
      );
    });
    await dev.kill();
  }
  query(database, "UPDATE Setting SET value = 42 WHERE name = 'load'");
  const { dev, url } = await startDev(dir, "--devices", "2");
  await using _dev = dev;
  await until("the change after kill -9 is in the table", async () => {
    return (await items(url, "model=Setting&device=demo-1")).some(({ name, value }) => name === "load" && value === 42);
  });
  assert.equal(JSON.parse(await Deno.readTextFile(`${dir}/tokens.json`))["demo-1"], JSON.parse(tokens)["demo-1"]);
  // What one device of the account writes, the other has.
  query(database, "INSERT INTO Site(name) VALUES ('harbour')");
  await until(
    "the site is on demo-2",
    () => count(`${dir}/demo-2.db`, "SELECT count(*) FROM Site WHERE name = 'harbour'"),
  );
});

Deno.test("dev: usual ports that are taken are replaced, named ones are refused, one folder has one dev", async () => {
  using folder = new TempDir();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = String((taken.addr as Deno.NetAddr).port);
  const other = choosePort("127.0.0.1", Number(port), "HTTP", false);
  assert.deepEqual(other, { port: 0, note: `port ${port} is taken: HTTP has another` });
  const refused = await run("dev", "--dir", folder.file("a"), "--port", port);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, new RegExp(`^twintable: port ${port} for HTTP is taken`));

  const { dev } = await startDev(folder.file("b"));
  await using _dev = dev;
  const second = await run("dev", "--dir", folder.file("b"), "--port", "0", "--mqtt-port", "0");
  assert.equal(second.code, 1);
  assert.match(second.stderr, /another process serves the table/);
  assert.equal(second.stderr.trimEnd().split("\n").length, 1);
});

Deno.test("dev: a schema of the user's own runs without the demo writer, with lines made from its models", {
  ignore: noShell,
}, async () => {
  using folder = new TempDir();
  const file = folder.file("mine.json5");
  await Deno.writeTextFile(
    file,
    `{ version: "1", indexes: { primary: { hash: "pk", sort: "sk" } },
       models: {
         Order: { pk: { type: "string", value: "d#\${deviceId}" }, sk: { type: "string", value: "order#\${number}" },
           deviceId: { type: "string", required: true }, number: { type: "number", required: true },
           state: { type: "string", enum: ["it's new", "done"], required: true } },
         Price: { pk: { type: "string", value: "prices" }, sk: { type: "string", value: "price#\${name}" },
           name: { type: "string", required: true }, amount: { type: "number" } } },
       process: { Order: { sync: "up" }, Price: { sync: "down" } } }`,
  );
  const { dev, url } = await startDev(folder.file("state"), "--schema", file);
  await using _dev = dev;
  await paste((await dev.printed(/sqlite3 .*/))[0]);
  await until("the order is in the table", async () => (await items(url, "model=Order&device=demo-1")).length === 1);
  await paste((await dev.printed(/curl .*/))[0]);
  await until(
    "the price is on the device",
    () => count(`${folder.file("state")}/demo-1.db`, "SELECT count(*) FROM Price"),
  );
});

Deno.test("cli: cloud, device and agent work together as processes; a revoked or wrong token ends an agent", async () => {
  using folder = new TempDir();
  const table = `embedded:${folder.file("cloud.db")}`;
  await using cloud = new Program([
    ...["cloud", "--schema", example, "--table", table, "--broker", "--mqtt-port", "0", "--port", "0"],
    ...["--token", "secret"],
  ]);
  const [, mqtt, url] = await cloud.printed(/broker (127\.0\.0\.1:\d+), (http:\/\/\S+)/);
  const token = (await run("device", "add", "d-1", "--account", "a-1", "--table", table)).stdout.trim();
  assert.match(token, /^[\w-]{43}$/);
  const again = await run("device", "add", "d-1", "--account", "a-1", "--table", table);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /there is a device "d-1" already/);
  assert.match((await run("device", "list", "--table", table)).stdout, /^d-1 +account a-1/m);

  const config = folder.file("agent.json5");
  const path = folder.file("d-1.db");
  const agentArgs = { device: "d-1", account: "a-1", schema: example, db: path, mqtt: `mqtt://${mqtt}` };
  await Deno.writeTextFile(config, JSON.stringify({ ...agentArgs, password: token }));
  {
    await using agent = new Program(["agent", "--config", config]);
    await agent.printed(/agent d-1 of account a-1/);
    query(path, "INSERT INTO Event(message) VALUES ('from a process')");
    await until("it is in the table", async () => {
      const response = await fetch(`${url}/api/items?model=Event`, { headers: { authorization: "Bearer secret" } });
      return (await response.json()).items.length === 1;
    });
    const closed = await fetch(`${url}/api/items?model=Event`);
    assert.equal(closed.status, 401);
    await closed.body?.cancel();
    const second = await run("agent", "--config", config);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /another agent is running/);
    assert.equal((await agent.stop("SIGTERM")).code, 0, agent.stderr);
  }
  const wrong = await run("agent", "--config", config, "--password", "not-the-token");
  assert.equal(wrong.code, 1, wrong.stderr);
  assert.match(
    wrong.stderr.trimEnd().split("\n").at(-1)!,
    /^twintable: the broker 127\.0\.0\.1:\d+ refused these credentials/,
  );

  assert.equal((await run("device", "revoke", "d-1", "--table", table)).stdout, "d-1 is revoked\n");
  assert.equal((await run("device", "revoke", "d-1", "--table", table)).code, 1);
  assert.equal((await cloud.stop("SIGINT")).code, 0, cloud.stderr);
});

Deno.test("dev: a repeated signal within moments is one Ctrl-C, as npx sends it", async () => {
  using folder = new TempDir();
  const { dev } = await startDev(folder.file("state"));
  await using _dev = dev;
  // Two of one kind could be delivered as one.
  Deno.kill(dev.pid, "SIGINT");
  assert.equal((await dev.stop("SIGTERM")).code, 0);
  assert.match(dev.stdout, /demo-1: closed/);
});
