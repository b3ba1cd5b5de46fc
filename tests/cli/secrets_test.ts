/** Secrets on the command line: from files and standard input, never in the clear to another machine, never told again. */
import assert from "node:assert/strict";
import { checkSecretTravel, hasSecret, secretFlags, secretOf, warnOfWeakTls } from "../../cli/secret.ts";
import { durationOf } from "../../cli/duration.ts";
import { withoutSecrets } from "../../protocol/log.ts";
import { everything } from "../../cli/all_commands.ts";
import { checkFlags, type Flag } from "../../cli/args.ts";
import { openCloudApi } from "../../cli/cloud_api.ts";
import { checkPublisherUrl, openPublisher } from "../../cloud/publishers/open.ts";
import { readHandlerConfig } from "../../cloud/handler_config.ts";
import { runMod, runModWith } from "../support/mod.ts";
import { TempDir } from "../support/temp_dir.ts";

Deno.test("secrets: a password goes over mqtt:// to this machine alone, unless that is asked for", () => {
  for (
    const url of [
      "mqtt://broker.example:1883",
      "mqtt://10.0.0.1",
      "mqtt://[2001:db8::1]:1883",
      "mqtt://localhost.example",
    ]
  ) {
    assert.throws(() => checkSecretTravel(url, true, false), /--insecure/);
    checkSecretTravel(url, true, true);
    checkSecretTravel(url, false, false);
  }
  for (
    const url of [
      "mqtts://broker.example",
      "mqtt://localhost:1883",
      "mqtt://127.0.0.1",
      "mqtt://127.1.2.3",
      "mqtt://[::1]:1883",
    ]
  ) {
    checkSecretTravel(url, true, false);
  }
});

Deno.test("secrets: times are whole numbers of a unit", () => {
  assert.deepEqual(["45s", "30m", "12h", "90d"].map((text) => durationOf("x", text)), [45e3, 18e5, 432e5, 7776e6]);
  for (const text of ["", "5", "0d", "-1d", "1.5h", "1w", "1d ", "9999999d"]) {
    assert.throws(() => durationOf("x", text));
  }
});

Deno.test("secrets: a URL is shown without what stands before its host", () => {
  for (
    const [url, shown] of [
      ["mqtt://user:hunter2@host:1883/x", "mqtt://…@host:1883/x"],
      ["mqtt://hunter2@host", "mqtt://…@host"],
      ["dynamodb://t?endpoint=http://k:hunter2@host&region=r", "dynamodb://t?endpoint=http://…@host&region=r"],
      ["dynamodb://t?endpoint=http%3A%2F%2Fk:hunter2%40host", "dynamodb://t?endpoint=http%3A%2F%2F…@host"],
      ["mqtt://a:hunter2@b:hunter2@host", "mqtt://…@host"],
      // Not escaped, or no URL: rather too little is shown.
      ["mqtt://host/a@b", "mqtt://…@b"],
      ["mqtt://user:hunt/er2@host", "mqtt://…@host"],
      ["mqtt://user:hunter2?x#y@host:1883", "mqtt://…@host:1883"],
      ["mqtt://a:hunter2@b/x:hunter2@host", "mqtt://…@host"],
      ["user:hunter2@host", "…@host"],
      ["mqtt:user:hunter2@host", "…@host"],
      ["mqtt://host?user=u&password=hunter2&x=1", "mqtt://host?user=u&password=…&x=1"],
      ["https://host/api?api_key=hunter2#access_token=hunter2", "https://host/api?api_key=…#access_token=…"],
      ["embedded:/srv/a@b/cloud.db", "embedded:/srv/a@b/cloud.db"],
    ] as const
  ) assert.equal(withoutSecrets(url), shown);
});

Deno.test("secrets: the agent's password comes from a file or standard input, and a wrong URL is told without its own", async () => {
  const dir = await Deno.makeTempDir();
  const schema = `${dir}/s.json`;
  await Deno.writeTextFile(
    schema,
    JSON.stringify({
      version: "1",
      indexes: { primary: { hash: "pk", sort: "sk" } },
      models: {
        M: {
          pk: { type: "string", value: "d#${deviceId}" },
          sk: { type: "string", value: "m#${id}" },
          deviceId: { type: "string" },
          id: { type: "string" },
        },
      },
      process: { M: { sync: "up" } },
    }),
  );
  const agent = (
    mqtt: string,
    ...more: string[]
  ) => [
    "agent",
    "--device",
    "d1",
    "--account",
    "a",
    "--schema",
    schema,
    "--db",
    `${dir}/d.db`,
    "--mqtt",
    mqtt,
    ...more,
  ];
  const wrong = await runMod(...agent("http://user:hunter2@host"));
  assert.deepEqual([wrong.code, wrong.stderr.includes("hunter2")], [2, false], wrong.stderr);
  const clear = await runMod(...agent("mqtt://broker.example", "--password", "hunter2"));
  assert.deepEqual([clear.code, clear.stderr.includes("hunter2")], [2, false], clear.stderr);
  assert.match(clear.stderr, /--insecure/);
  await Deno.writeTextFile(`${dir}/password`, "hunter2\nsecond line\n");
  const fromFile = await runMod(...agent("mqtt://broker.example", "--password-file", `${dir}/password`));
  assert.match(fromFile.stderr, /--insecure/);
  const fromInput = await runModWith({ input: "hunter2\n" }, ...agent("mqtt://broker.example", "--password-file", "-"));
  assert.match(fromInput.stderr, /--insecure/);
  for (const [file, text] of [[`${dir}/none`, /can't be read/], [`${dir}/empty`, /no first line/]] as const) {
    await Deno.writeTextFile(`${dir}/empty`, "");
    const { code, stderr } = await runMod(...agent("mqtt://127.0.0.1", "--password-file", file));
    assert.equal(code, 1);
    assert.match(stderr, text);
  }
  const both = await runMod(...agent("mqtt://127.0.0.1", "--password", "x", "--password-file", `${dir}/password`));
  assert.equal(both.code, 2);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("secrets: device add, rotate and list tell of a token's end, and no device is named as a worker", async () => {
  const dir = await Deno.makeTempDir();
  const device = (...args: string[]) => runMod("device", ...args, "--table", `embedded:${dir}/cloud.db`);
  const reserved = await device("add", "twintable-cloud", "--account", "a");
  assert.equal(reserved.code, 1);
  const added = await device("add", "d1", "--account", "a", "--expires", "90d");
  assert.match(added.stdout, /^[\w-]{43}\n$/);
  const rotated = await device("rotate", "d1", "--grace", "1h");
  assert.match(rotated.stdout, /^[\w-]{43}\n$/);
  assert.match((await device("list")).stdout, /^d1 {2}account a .* old token until 20/);
  assert.equal((await device("rotate", "d2")).code, 1);
  assert.equal((await device("add", "d3", "--account", "a", "--expires", "soon")).code, 2);
  await Deno.remove(dir, { recursive: true });
});

/** What values without a secret are called in help texts. A new one is added here, or is a secret's. */
const plainValues = new Set([
  ...["FILE", "DIR", "URL", "ADDRESS", "ID", "NAME", "N", "NUMBER", "TEXT", "TIME", "MODE", "FORM", "U", "M", "M,…"],
  ...["MODEL", "REGION"],
]);
const secretName = /pass|secret|token|credential|code|claim|\bkey|auth|pin\b/i;

Deno.test("secrets: each that a command takes can be read from a file, and whoever adds one has to say that it is one", async () => {
  let found = 0;
  for (const [command, { load }] of Object.entries(everything.commands)) {
    const { flags } = await load() as { flags: Readonly<Record<string, Flag>> };
    for (const [name, flag] of Object.entries(flags)) {
      if (flag.type !== "string") continue;
      const where = `${command} --${name} ${flag.value}`;
      // A file may hold a secret, and what stands on the command line is its name.
      const isPath = flag.value === "FILE" || flag.value === "DIR";
      if (!flag.secret) {
        assert.ok(plainValues.has(flag.value), `${where}: a secret (secretFlags), or a value for plainValues here?`);
        assert.ok(isPath || !secretName.test(name), `${where} looks like a secret: declare it with secretFlags`);
        continue;
      }
      found++;
      const sibling = flags[`${name}-file`];
      assert.ok(sibling?.type === "string" && sibling.value === "FILE", `${where} has no --${name}-file`);
      assert.match(flag.summary, /visible in the process list/);
    }
  }
  assert.ok(found >= 8, `${found}`);
});

Deno.test("secrets: each variable of the handler that holds one has a _FILE in its place", async () => {
  using dir = new TempDir();
  const file = (name: string, text: string) => {
    Deno.writeTextFileSync(dir.file(name), text);
    return dir.file(name);
  };
  const model = {
    pk: { type: "string", value: "m#${id}" },
    sk: { type: "string", value: "m" },
    id: { type: "string" },
  };
  const schema = { version: "1", indexes: { primary: { hash: "pk", sort: "sk" } }, models: { M: model } };
  const base = { TWINTABLE_SCHEMA: file("s.json", JSON.stringify(schema)), TWINTABLE_TABLE: "dynamodb://t" };
  const asked = new Set<string>();
  const read = (values: Record<string, string>) =>
    readHandlerConfig((name) => {
      asked.add(name);
      return ({ ...base, ...values } as Record<string, string>)[name];
    });
  const notify = "0123456789abcdef fedcba9876543210";
  const config = await read({
    TWINTABLE_TOKEN_FILE: file("token", "a token of ours\n"),
    TWINTABLE_PUBLISHER_FILE: file("publisher", "mqtts://u:hush@host\n"),
    TWINTABLE_NOTIFY_SECRET_FILE: file("notify", notify.replace(" ", "\n")),
  });
  const plain = await read({
    TWINTABLE_TOKEN: "a token of ours",
    TWINTABLE_PUBLISHER: "mqtts://u:hush@host",
    TWINTABLE_NOTIFY_SECRET: notify,
  });
  assert.deepEqual([config.tokens(), config.publisher, config.notifySecrets], [
    ...[plain.tokens(), plain.publisher, plain.notifySecrets],
  ]);
  await assert.rejects(read({ TWINTABLE_TOKEN: "x", TWINTABLE_TOKEN_FILE: dir.file("token") }), /one too many/);
  await assert.rejects(read({ TWINTABLE_TOKEN_FILE: file("empty", "\n") }), /TWINTABLE_TOKEN_FILE: .* is empty/);
  await assert.rejects(read({ TWINTABLE_TOKEN_FILE: dir.file("none") }), /TWINTABLE_TOKEN_FILE: .* can't be read/);
  // Whoever adds a variable says here that it holds no secret, or gives it a _FILE. TOKENS may be a file's name itself.
  const withoutSecret = ["SCHEMA", "TABLE", "TOKENS", "PREFIX", "PAYLOAD_BYTES_MAX", "RETENTION_HOURS", "AUDIT_DAYS"];
  withoutSecret.push("STREAM_TIMEOUT_MS", "MQTT_VERSION", "MQTT_CA", "MQTT_CERT", "MQTT_KEY");
  for (const name of asked) {
    const own = name.replace(/^TWINTABLE_|_FILE$/g, "");
    if (!withoutSecret.includes(own)) assert.ok(asked.has(`TWINTABLE_${own}_FILE`), `${name} has no ${name}_FILE`);
  }
  assert.ok(asked.size > 12);
});

Deno.test("secrets: a password in the broker's URL is refused, since it would stand on the command line", async () => {
  const args = ["--db", "/nonexistent.db", "--schema", "s", "--device", "d", "--account", "a"];
  const { code, stderr } = await runMod("agent", ...args, "--mqtt", "mqtts://user:hunter2@127.0.0.1");
  assert.deepEqual([code, stderr.includes("hunter2"), /--password-file/.test(stderr)], [2, false, true], stderr);
});

Deno.test("secrets: without flags the environment gives one, where the program may read it", async () => {
  using dir = new TempDir();
  const file = dir.file("token");
  await Deno.writeTextFile(file, "of the file\n");
  const before = Deno.env.get("TWINTABLE_TOKEN");
  Deno.env.set("TWINTABLE_TOKEN", "of the environment");
  try {
    assert.deepEqual([hasSecret({}, "token"), await secretOf({}, "token")], [true, "of the environment"]);
    assert.equal(await secretOf({ token: "of the flag" }, "token"), "of the flag");
    assert.equal(await secretOf({ "token-file": file }, "token"), "of the file");
    assert.deepEqual([hasSecret({}, "claim"), await secretOf({}, "claim")], [false, undefined]);
    // A program that is compiled without the permission goes on without it.
    const module = JSON.stringify(new URL("../../cli/secret.ts", import.meta.url).href);
    const script = dir.file("script.ts");
    await Deno.writeTextFile(script, `import { secretOf } from ${module}; console.log(await secretOf({}, "token"));`);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--no-prompt", "--allow-read", script],
    }).output();
    assert.equal(new TextDecoder().decode(stdout).trim(), "undefined", new TextDecoder().decode(stderr));
  } finally {
    before === undefined ? Deno.env.delete("TWINTABLE_TOKEN") : Deno.env.set("TWINTABLE_TOKEN", before);
  }
});

Deno.test("secrets: no wrong value of a secret's flag, nor what a URL of the API has of one, is told", async () => {
  for (const value of [12345678, "", ["hunter2"], { a: "hunter2" }, true, null]) {
    const flags = secretFlags("password", "P", "a password");
    assert.throws(() => checkFlags(flags, new Map([["password", value]])), {
      message: "--password is a text that is not empty",
    });
  }
  for (
    const url of [
      "http://user:hunter2@host",
      "https://user:hunter2@host/x?y",
      "http://host?token=hunter2",
      "ftp://u:hunter2@host",
      "u:hunter2@host",
    ]
  ) {
    await assert.rejects(openCloudApi(url, {}), (error: Error) => !error.message.includes("hunter2"), url);
  }
});

Deno.test("secrets: a publisher's URL without a host is no URL, whatever it begins with", () => {
  for (const url of ["foo:bar", "mqtt:host", "user:hunter2@host", "", "://x", "mqtt://"]) {
    assert.throws(
      () => checkPublisherUrl(url),
      (error: Error) => /is no URL of a publisher/.test(error.message) && !error.message.includes("hunter2"),
      url,
    );
  }
});

Deno.test("secrets: what the environment alters in whom TLS trusts is said, each by its name", () => {
  const said = (values: Record<string, string>) => {
    const lines: string[] = [];
    warnOfWeakTls((line) => lines.push(line), (name) => values[name]);
    return lines;
  };
  const names = ["NODE_TLS_REJECT_UNAUTHORIZED", "DENO_CERT", "NODE_EXTRA_CA_CERTS", "DENO_TLS_CA_STORE"];
  for (const name of names) {
    const [line, ...more] = said({ [name]: "0" });
    assert.ok(line?.startsWith(`${name}=0 is set: `), `${line}`);
    assert.deepEqual(more, []);
  }
  assert.equal(said(Object.fromEntries(names.map((name) => [name, "0"]))).length, names.length);
  assert.deepEqual(said({ NODE_TLS_REJECT_UNAUTHORIZED: "1", DENO_CERT: "", DENO_TLS_CA_STORE: "mozilla" }), []);
  assert.deepEqual(said({}), []);
});

Deno.test("secrets: a publisher's URL that is not well escaped is refused as any other, where it is first read", async () => {
  for (const user of ["%zz", "u:hunter2%", "u:hunter2%zz", "%ff:hunter2", "u:%C0%80hunter2"]) {
    for (const scheme of ["mqtt", "mqtts", "emqx+https"]) {
      const url = `${scheme}://${user.includes(":") ? user : `${user}:hunter2`}@host/x`;
      const isRefused = (error: Error & { code?: string }) =>
        error.code === "config" && /percent sign/.test(error.message) && !error.message.includes("hunter2");
      assert.throws(() => checkPublisherUrl(url), isRefused, url);
      await assert.rejects(openPublisher(url), isRefused, url);
    }
  }
});
