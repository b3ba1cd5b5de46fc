/**
 * Where requests go and with whose credentials: `?endpoint=`, `AWS_ENDPOINT_URL_DYNAMODB` and the AWS default chain, seen by a
 * server in DynamoDB's place. For each test the environment has these variables of AWS and no others.
 */
import assert from "node:assert/strict";
import { DescribeTableCommand } from "@aws-sdk/client-dynamodb";
import { DescribeStreamCommand } from "@aws-sdk/client-dynamodb-streams";
import { connectDynamo } from "../../../cloud/dynamodb/client.ts";
import { SyncError } from "../../../schema.ts";
import { TempDir } from "../../support/temp_dir.ts";

/** Answers everything with nothing, and keeps what it was asked for, by whom, for which region. */
class Double implements AsyncDisposable {
  readonly asked: string[] = [];
  readonly #server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    await request.text();
    const signed = /Credential=([^/]+)\/\d+\/([^/]+)\//.exec(request.headers.get("authorization") ?? "");
    this.asked.push(`${request.headers.get("x-amz-target")?.split(".")[1]} ${signed?.[1]} ${signed?.[2]}`);
    return new Response("{}", { headers: { "content-type": "application/x-amz-json-1.0" } });
  });
  readonly endpoint = `http://127.0.0.1:${this.#server.addr.port}`;

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

const keys = { AWS_ACCESS_KEY_ID: "AKENV", AWS_SECRET_ACCESS_KEY: "secret" };

/** A test within its own environment; `dir` stands for a home without anything. */
function test(
  sentence: string,
  body: (set: (env: Record<string, string>) => void, dir: TempDir) => Promise<void>,
): void {
  Deno.test(`dynamodb client: ${sentence}`, async () => {
    using dir = new TempDir();
    const before = Deno.env.toObject();
    const clear = () => {
      for (const name of Object.keys(Deno.env.toObject())) if (name.startsWith("AWS_")) Deno.env.delete(name);
    };
    clear();
    try {
      const nowhere = { AWS_CONFIG_FILE: dir.file("none"), AWS_SHARED_CREDENTIALS_FILE: dir.file("none") };
      await body((env) => {
        clear();
        for (const [name, value] of Object.entries({ ...nowhere, ...env })) Deno.env.set(name, value);
      }, dir);
    } finally {
      clear();
      for (const [name, value] of Object.entries(before)) if (name.startsWith("AWS_")) Deno.env.set(name, value);
    }
  });
}

/** Connects, and sends one request to the tables and one to the streams. */
async function ask(url: string): Promise<void> {
  const connection = await connectDynamo(url, { retryForMs: 0 });
  try {
    await connection.send(new DescribeTableCommand({ TableName: "fleet" }));
    await connection.sendToStream(
      new DescribeStreamCommand({ StreamArn: "arn:aws:dynamodb:x:1:table/fleet/stream/1" }),
    );
  } finally {
    connection.close();
  }
}

const both = (key: string, region: string) => [`DescribeTable ${key} ${region}`, `DescribeStream ${key} ${region}`];

test("without an endpoint in the URL, AWS_ENDPOINT_URL_DYNAMODB is asked, for tables and streams", async (set) => {
  await using double = new Double();
  set({ ...keys, AWS_REGION: "eu-west-1", AWS_ENDPOINT_URL_DYNAMODB: double.endpoint });
  await ask("dynamodb://fleet");
  assert.deepEqual(double.asked, both("AKENV", "eu-west-1"));
});

test("AWS_ENDPOINT_URL is asked where there is none for DynamoDB", async (set) => {
  await using double = new Double();
  set({ ...keys, AWS_DEFAULT_REGION: "eu-west-2", AWS_ENDPOINT_URL: double.endpoint });
  await ask("dynamodb://fleet");
  assert.deepEqual(double.asked, both("AKENV", "eu-west-2"));
});

test("what the URL says goes before what the environment says", async (set) => {
  await using double = new Double();
  set({ ...keys, AWS_REGION: "eu-west-1", AWS_ENDPOINT_URL_DYNAMODB: "http://127.0.0.1:1" });
  await ask(`dynamodb://fleet?region=us-east-2&endpoint=${encodeURIComponent(double.endpoint)}`);
  assert.deepEqual(double.asked, both("AKENV", "us-east-2"));
});

test("credentials and region come from a profile of the shared files", async (set, dir) => {
  await using double = new Double();
  const [config, credentials] = [dir.file("config"), dir.file("credentials")];
  Deno.writeTextFileSync(config, "[profile fleet]\nregion = ap-south-1\n");
  Deno.writeTextFileSync(credentials, "[fleet]\naws_access_key_id = AKFILE\naws_secret_access_key = secret\n");
  set({
    AWS_PROFILE: "fleet",
    AWS_CONFIG_FILE: config,
    AWS_SHARED_CREDENTIALS_FILE: credentials,
    AWS_ENDPOINT_URL_DYNAMODB: double.endpoint,
  });
  await ask("dynamodb://fleet");
  assert.deepEqual(double.asked, both("AKFILE", "ap-south-1"));
});

test("credentials come from a container's endpoint, as on ECS", async (set) => {
  await using double = new Double();
  const token: (string | null)[] = [];
  const container = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    token.push(request.headers.get("authorization"));
    const Expiration = new Date(Date.now() + 3600_000).toISOString();
    return Response.json({ AccessKeyId: "AKECS", SecretAccessKey: "secret", Token: "session", Expiration });
  });
  set({
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${container.addr.port}/`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: "t0ken",
    AWS_REGION: "eu-west-1",
    AWS_ENDPOINT_URL_DYNAMODB: double.endpoint,
  });
  await ask("dynamodb://fleet");
  await container.shutdown();
  assert.deepEqual(double.asked, both("AKECS", "eu-west-1"));
  assert.equal(token[0], "t0ken");
});

test("an emulator on this machine needs no configuration of AWS at all", async (set) => {
  await using double = new Double();
  set({});
  await ask(`dynamodb://fleet?endpoint=${double.endpoint}`);
  assert.deepEqual(double.asked, both("local", "us-east-1"));
});

test("a region or credentials that nobody knows are one clear error before anything is sent", async (set) => {
  const refused = (code: string) => (error: unknown) =>
    error instanceof SyncError && error.code === code && !!error.hint;
  set(keys);
  await assert.rejects(connectDynamo("dynamodb://fleet"), refused("no-region"));
  set({ AWS_REGION: "eu-west-1", AWS_EC2_METADATA_DISABLED: "true" });
  await assert.rejects(connectDynamo("dynamodb://fleet"), refused("denied"));
});
