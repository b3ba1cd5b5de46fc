/**
 * `twintable csr`: a key for this device, and the request for its certificate. The key never leaves the device; the request
 * goes to whoever has the device authority (`mod.ts device add DEVICE --csr FILE`), and the certificate comes back.
 *
 * @module
 */
import { writeWholeFile } from "../agent/credentials/whole_file.ts";
import { newKey, requestFor } from "../agent/credentials/request.ts";
import { checkId } from "../schema.ts";
import { CommandError, defineCommand } from "./command.ts";
import { readFlagFile } from "./connection.ts";
import { isOwn } from "./own_file.ts";

/** The `csr` command. */
export const csrCommand = defineCommand({
  name: "csr",
  summary: "make this device's key, and the request for its certificate",
  usage: ["DEVICE --key FILE [--out FILE]"],
  about: [
    "The key (P-256) is made where there is none, for its owner alone (0600), and stays on the device. One that is\n" +
    "there has to be yours, and no link. The request is printed, or written to --out: take it to where the device\n" +
    "authority is (mod.ts device add DEVICE --csr FILE).",
  ],
  flags: {
    key: { type: "string", value: "FILE", summary: "the private key, made if missing", required: true },
    out: { type: "string", value: "FILE", summary: "where the request goes; default standard output" },
  },
  operands: [1, 1],
  async run({ flags, operands, print }) {
    const [device] = operands as [string];
    checkId("device", device);
    // A key that somebody else put there is one that they have.
    if (!isOwn(flags.key)) writeWholeFile(flags.key, newKey());
    const request = requestOf(device, flags.key, await readFlagFile("key", flags.key));
    if (flags.out === undefined) print(request.trimEnd());
    else writeWholeFile(flags.out, request);
    return 0;
  },
});

function requestOf(device: string, file: string, key: string): string {
  try {
    return requestFor(device, key);
  } catch (cause) {
    throw new CommandError(`--key ${file} is no private key of P-256 in PEM: ${(cause as Error).message}`, { cause });
  }
}
