/**
 * The examples of docs/protocol.md are messages: each is read, and written again with all that it has; and each type of message has one.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Decoder, encode, type Message } from "../../protocol.ts";

const page = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8");
const source = readFileSync(new URL("../../protocol/messages.ts", import.meta.url), "utf8");
const examples = [...page.matchAll(/^```(up|down)\n(.*)\n```$/gm)].map(([, direction, text]) => ({
  direction,
  text: text!,
}));

Deno.test("protocol.md: each example is a message, with nothing in it that this tree does not know", () => {
  for (const { direction, text } of examples) {
    const decoder = new Decoder({ now: () => 0 });
    const message = decoder.accept(new TextEncoder().encode(text), direction as "up") as Message;
    const { z, ...rest } = message as Message & { z?: 1 };
    const [payload] = encode(rest, { inflates: z === 1 || decoder.senderInflates });
    // The order of fields means nothing.
    assert.deepEqual(JSON.parse(new TextDecoder().decode(payload)), JSON.parse(text));
  }
});

Deno.test("protocol.md: each type of message has an example", () => {
  const types = [...source.matchAll(/readonly type: "(\w+)";/g)].map(([, type]) => type!);
  assert.ok(types.length > 10);
  const shown = new Set(examples.map(({ text }) => JSON.parse(text).type));
  assert.deepEqual(types.filter((type) => !shown.has(type)), []);
});
