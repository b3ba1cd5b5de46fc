/** The examples of `--help`: every command has some, with flags and actions that it has. */
import assert from "node:assert/strict";
import { everything } from "../../cli/all_commands.ts";
import { commonFlags, readArguments } from "../../cli/args.ts";
import { examples } from "../../cli/examples.ts";

for (const [name, { load }] of Object.entries(everything.commands)) {
  Deno.test({
    name: `help: the examples of ${name} are of flags, actions and operands that it takes`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const command = await load(), own = examples[name] ?? [];
      assert.ok(own.length > 0, `${name} has no example`);
      const actions = new Set(
        command.usage.flatMap((form) => /^[a-z][a-z|-]*(?= |$)/.exec(form)?.[0].split("|") ?? []),
      );
      for (const line of own) {
        const [first, ...args] = line.split(" ");
        assert.equal(first, name);
        const { operands } = readArguments({ ...command.flags, ...commonFlags }, args);
        const [min, max] = command.operands;
        assert.ok(operands.length >= min && operands.length <= max, line);
        if (actions.size > 0 && operands.length > 0) assert.ok(actions.has(operands[0]!), `${line}: ${[...actions]}`);
      }
    },
  });
}

Deno.test("help: no example is of a command that there is not", () => {
  assert.deepEqual(Object.keys(examples).filter((name) => !Object.hasOwn(everything.commands, name)), []);
});
