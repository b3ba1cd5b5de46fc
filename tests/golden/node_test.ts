/**
 * A cloud may run on Node: what it compresses, devices on Deno read, and the reverse. The two runtimes' `node:zlib` differ
 * (Deno 2.9.6 ignores the dictionary of raw deflate, Node does not), so each has to read the other's bytes.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import { deflated, inflated } from "../../protocol/deflate.ts";
import { TempDir } from "../support/temp_dir.ts";
import { toolsMissing } from "../support/tools.ts";
import { frozen, golden, type GoldenPayloads, payloadOf, releases } from "./golden.ts";

async function output(command: string, args: string[], input?: string): Promise<string> {
  const child = new Deno.Command(command, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input ?? ""));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Reads base64 payloads, a line each, and writes what they hold; or compresses what it reads. */
const program = `
import { deflated, inflated } from "./deflate.mjs";
const lines = (await new Response(process.stdin).text()).split("\\n").map((line) => Buffer.from(line, "base64"));
const convert = process.argv[2] === "inflate" ? (line) => inflated(line, 1e7) : deflated;
console.log(lines.map((line) => Buffer.from(convert(line)).toString("base64")).join("\\n"));
`;

Deno.test({
  name: "golden: compressed by Node, read by Deno",
  ignore: toolsMissing("node"),
  async fn() {
    using folder = new TempDir();
    const source = fileURLToPath(new URL("../../protocol/deflate.ts", import.meta.url));
    await output(Deno.execPath(), [
      "bundle",
      "--quiet",
      "--platform",
      "deno",
      "--output",
      folder.file("deflate.mjs"),
      source,
    ]);
    Deno.writeTextFileSync(folder.file("run.mjs"), program);
    const node = async (way: string, payloads: readonly Uint8Array[]) => {
      const input = payloads.map((payload) => Buffer.from(payload).toString("base64")).join("\n");
      return (await output("node", [folder.file("run.mjs"), way], input)).trim().split("\n").map(payloadOf);
    };
    for (const release of releases) {
      const messages = golden<GoldenPayloads[]>(release, "messages.json").filter(({ deflated }) =>
        deflated.length === 1
      );
      const texts = messages.map(({ plain }) => new TextEncoder().encode(plain));
      await frozen("what a cloud on Node compresses, a device can't read", async () => {
        const byNode = await node("deflate", texts);
        byNode.forEach((payload, i) => assert.deepEqual(new Uint8Array(inflated(payload, 1e7)), texts[i]));
      });
      await frozen("what a device compresses, a cloud on Node can't read", async () => {
        assert.deepEqual(await node("inflate", texts.map(deflated)), texts);
      });
    }
  },
});
