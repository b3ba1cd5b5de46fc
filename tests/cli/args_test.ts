import assert from "node:assert/strict";
import { checkFlags, describeFlags, type Flags, parseFlags, readConfig, UsageError } from "../../cli/args.ts";

const flags = {
  db: { type: "string", value: "FILE", summary: "a file", required: true },
  mode: { type: "string", value: "MODE", summary: "a mode", choices: ["full", "normal"], default: "full" },
  "mqtt-port": { type: "integer", value: "N", summary: "a port", min: 0, max: 65_535, default: 1883 },
  json: { type: "boolean", short: "j", summary: "print JSON" },
  config: { type: "string", value: "FILE", summary: "a file of flags" },
} as const satisfies Flags;

const noConfig = () => Promise.reject(new Error("no configuration was asked for"));

Deno.test("args: values are read, defaults filled in, operands kept apart", async () => {
  const parsed = await parseFlags(flags, ["add", "--db", "x.db", "-j", "--mqtt-port=0", "d-1"], noConfig);
  assert.deepEqual({ ...parsed.flags }, { db: "x.db", mode: "full", "mqtt-port": 0, json: true });
  assert.deepEqual(parsed.operands, ["add", "d-1"]);
  assert.deepEqual([...parsed.given].sort(), ["db", "json", "mqtt-port"]);
});

Deno.test("args: each mistake is one line that names the flag", async () => {
  const cases: [args: string[], line: RegExp][] = [
    [["--bogus"], /^unknown flag --bogus$/],
    [["-x"], /^unknown flag -x$/],
    [["--db"], /^--db needs a value: --db FILE$/],
    [["--db", "--json"], /^--db needs a value/],
    [["--db="], /^--db is a text that is not empty/],
    [["--db", "x", "--json=yes"], /^--json takes no value$/],
    [["--db", "x", "--mqtt-port", "x"], /^--mqtt-port is a whole number from 0 to 65535, not "x"$/],
    [["--db", "x", "--mqtt-port", "65536"], /^--mqtt-port is a whole number/],
    [["--db", "x", "--mqtt-port", "1e3"], /^--mqtt-port is a whole number/],
    [["--db", "x", "--mode", "fast"], /^--mode is one of full, normal, not "fast"$/],
    [[], /^--db FILE is missing$/],
  ];
  for (const [args, line] of cases) {
    await assert.rejects(parseFlags(flags, args, noConfig), (error: Error) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.match(error.message, line);
      return true;
    });
  }
});

Deno.test("args: every flag can come from the configuration, and the command line goes before it", async () => {
  const config = { db: "c.db", mqttPort: 7, json: true, mode: "normal" };
  const parsed = await parseFlags(flags, ["--config", "c.json5", "--mode", "full"], (file) => {
    assert.equal(file, "c.json5");
    return Promise.resolve(config);
  });
  assert.deepEqual({ ...parsed.flags }, { config: "c.json5", db: "c.db", mode: "full", "mqtt-port": 7, json: true });
});

Deno.test("args: a configuration with an unknown name or a wrong type is refused", () => {
  assert.throws(() => readConfig(flags, { nope: 1 }, "c.json5"), /c.json5: unknown flag "nope"/);
  assert.throws(() => readConfig(flags, { config: "other" }, "c.json5"), /unknown flag "config"/);
  assert.throws(() => readConfig(flags, [], "c.json5"), /must hold one object/);
  assert.throws(() => checkFlags(flags, new Map<string, unknown>([["db", 1]])), /--db is a text/);
  assert.throws(() => checkFlags(flags, new Map<string, unknown>([["db", "x"], ["json", "yes"]])), /--json is true or/);
});

Deno.test("args: the help names default, choices and what is required", () => {
  const text = describeFlags(flags).join("\n");
  assert.match(text, /--db FILE +a file \(required\)/);
  assert.match(text, /--mode MODE +a mode \(default full; full or normal\)/);
  assert.match(text, /-j, --json +print JSON/);
});
