/**
 * `licenses`: the third-party code in the program, and its licences. The texts are included when the program is
 * compiled.
 *
 * @module
 */
import { CommandError, defineCommand } from "./command.ts";

let notices: string | undefined;

/** Makes the notices part of the program. */
export function buildInNotices(text: string): void {
  notices = text;
}

/** The `licenses` command. */
export const licensesCommand = defineCommand({
  name: "licenses",
  summary: "the licences of what is in this program",
  usage: [""],
  flags: {},
  operands: [0, 0],
  // deno-lint-ignore require-await -- a command resolves to its exit code
  async run({ print }) {
    if (notices === undefined) {
      throw new CommandError(
        "run from source, each package has its licence beside it; a compiled program has them in it",
      );
    }
    print("Twintable: MIT License.\n");
    print(`The runtime is Deno ${Deno.version.deno} (MIT License) with V8 ${Deno.version.v8} (BSD License) and SQLite`);
    print("(public domain); its notices are at https://github.com/denoland/deno. Packages:\n");
    print(notices);
    return 0;
  },
});
