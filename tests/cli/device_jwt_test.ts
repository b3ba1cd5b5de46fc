/** `cloud --device-jwt FILE`: a device comes with a JWT of another issuer; a file that is wrong is named, and nothing starts. */
import assert from "node:assert/strict";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { readDeviceJwt } from "../../cli/device_jwt.ts";
import { RawConnection } from "../hostile/raw_mqtt.ts";
import { freePort } from "../support/mosquitto.ts";
import { Program } from "../support/process.ts";
import { writeSchema } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { run } from "./run.ts";

const good = { issuer: "https://id.example.com", audience: "twintable", jwks: "keys.json" };
const newKeys = async () =>
  await generateKeyPair("ES256", { extractable: true }) as unknown as { publicKey: CryptoKey; privateKey: CryptoKey };

Deno.test("cli: --device-jwt reads the key set beside its file, and names what is wrong with either", async () => {
  using dir = new TempDir();
  const file = dir.file("jwt.json"),
    read = (content: unknown) => {
      Deno.writeTextFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
      return readDeviceJwt(file);
    };
  await assert.rejects(read(good), /--device-jwt: .*keys\.json can't be read/);
  Deno.writeTextFileSync(dir.file("keys.json"), `{"keys":[]}`);
  assert.deepEqual(await read(good), {
    ...{ issuer: good.issuer, audience: good.audience, keys: { set: `{"keys":[]}` } },
    ...{ deviceClaim: "sub", accountClaim: "account" },
  });
  const url = "https://id.example.com/jwks.json";
  const all = { ...good, jwks: url, algorithms: ["RS256"], device: "dev", account: "acc", scope: "twintable" };
  assert.deepEqual(await read(all), {
    ...{ issuer: good.issuer, audience: good.audience, keys: { url }, algorithms: ["RS256"] },
    ...{ deviceClaim: "dev", accountClaim: "acc", scope: "twintable" },
  });
  const faults: [unknown, RegExp][] = [
    ["{", /is not JSON/],
    [[], /an object is required/],
    ["null", /an object is required/],
    [{ ...good, issuer: undefined }, /issuer is a text, and required/],
    [{ ...good, audience: "" }, /audience is a text/],
    [{ ...good, jwks: 7 }, /jwks is a text/],
    [{ ...good, algorithms: "ES256" }, /algorithms is a list of names/],
    [{ ...good, algorithms: [1] }, /algorithms is a list of names/],
    [{ ...good, scope: "" }, /scope is a text/],
    [{ ...good, audiences: "x" }, /unknown "audiences"; known are issuer/],
  ];
  for (const [content, line] of faults) {
    await assert.rejects(read(content), (error: Error) => line.test(error.message) && error.message.includes(file));
  }
});

Deno.test("cli: cloud --device-jwt lets a registered device in by its issuer's token, and starts with no faulty file", async () => {
  using dir = new TempDir();
  const [keys, others] = [await newKeys(), await newKeys()], mqttPort = await freePort();
  const set = { keys: [{ ...await exportJWK(keys.publicKey), kid: "one", alg: "ES256" }] };
  Deno.writeTextFileSync(dir.file("keys.json"), JSON.stringify(set));
  Deno.writeTextFileSync(dir.file("jwt.json"), JSON.stringify(good));
  Deno.writeTextFileSync(dir.file("faulty.json"), JSON.stringify({ ...good, algorithms: ["HS256"] }));
  const schema = writeSchema(dir.path), at = ["--table", `embedded:${dir.file("cloud.db")}`, "--schema", schema];
  assert.equal((await run("device", "add", "dev-1", "--account", "acme", ...at)).code, 0);
  const cloud = ["cloud", ...at], own = ["--broker", "--mqtt-port", `${mqttPort}`, "--device-jwt"];
  const cases: [args: string[], code: number, line: RegExp][] = [
    [["--mqtt", "mqtt://127.0.0.1:1", "--device-jwt", dir.file("jwt.json")], 2, /--device-jwt goes with --broker/],
    [[...own, dir.file("faulty.json")], 1, /HS256/],
  ];
  for (const [args, code, line] of cases) {
    const done = await run(...cloud, ...args);
    assert.deepEqual([done.code, line.test(done.stderr)], [code, true], done.stderr);
  }
  await using program = new Program([...cloud, ...own, dir.file("jwt.json")]);
  await program.printed(/broker 127/);
  const token = (device: string, { privateKey } = keys) =>
    new SignJWT({ account: "acme" }).setProtectedHeader({ alg: "ES256", kid: "one" }).setSubject(device)
      .setIssuer(good.issuer).setAudience(good.audience).setIssuedAt().setExpirationTime("10m").sign(privateKey);
  const come = async (device: string, password: string) => {
    const { connection, code } = await RawConnection.connect(mqttPort, {
      clientId: device,
      username: device,
      password,
    });
    connection.socket.destroy();
    return code;
  };
  assert.equal(await come("dev-1", await token("dev-1")), 0);
  assert.notEqual(await come("dev-1", await token("dev-1", others)), 0, "somebody else's key");
  assert.notEqual(await come("dev-2", await token("dev-2")), 0, "nobody has registered it");
});
