/**
 * `mod.ts completions`: a script for bash, zsh or fish that completes commands and flags, made from their declarations.
 *
 * @module
 */
import { commonFlags, type Flags, UsageError } from "./args.ts";
import { type Command, defineCommand } from "./command.ts";
import type { Commands } from "./device_commands.ts";

/** A command and its possible continuations. */
interface Completed {
  readonly name: string;
  readonly summary: string;
  readonly flags: Flags;
  /** The first words of its usage. */
  readonly actions: readonly string[];
}

/** The shells. */
const shells = ["bash", "zsh", "fish"] as const;

/** The `completions` command of a program that is run as `program` and has these commands. */
export function completionsCommand(program: string, commands: Commands): Command {
  return defineCommand({
    name: "completions",
    summary: "a script that completes commands and flags in a shell",
    usage: shells.map((shell) => shell),
    about: [
      `bash: source <(${program} completions bash), in ~/.bashrc\n` +
      `zsh:  source <(${program} completions zsh), in ~/.zshrc, after compinit\n` +
      `fish: ${program} completions fish > ~/.config/fish/completions/${program}.fish`,
    ],
    flags: {},
    operands: [1, 1],
    async run({ operands, print }) {
      const [shell] = operands as [typeof shells[number]];
      if (!shells.includes(shell)) throw new UsageError(`completions ${shell}? ${shells.join(", ")}`);
      const all = await Promise.all(
        Object.entries(commands).filter(([name]) => name !== "completions").map(async ([name, { summary, load }]) => {
          const { flags, usage } = await load();
          return { name, summary, flags: { ...flags, ...commonFlags }, actions: actionsOf(usage) };
        }),
      );
      const script = { bash, zsh: (program: string, all: Completed[]) => zsh + bash(program, all), fish }[shell];
      print(script(program, all));
      return 0;
    },
  }) as unknown as Command;
}

/** The lower-case words at the beginning of a form of the usage: `list`, `create|check`. */
function actionsOf(usage: readonly string[]): string[] {
  return [...new Set(usage.flatMap((form) => /^[a-z][a-z|-]*(?= |$)/.exec(form)?.[0].split("|") ?? []))];
}

/** Zsh can read a bash script in compatibility mode. */
const zsh = "autoload -U +X bashcompinit && bashcompinit\n";

function functionName(program: string): string {
  return `_${program.replace(/\W/g, "_")}`;
}

function bash(program: string, all: readonly Completed[]): string {
  const cases = all.map(({ name, flags, actions }) => {
    const words = [...actions, ...Object.keys(flags).map((flag) => `--${flag}`), "--help"].join(" ");
    return `    ${name}) words="${words}" ;;`;
  });
  const files = [
    ...new Set(
      all.flatMap(({ flags }) =>
        Object.entries(flags).filter(([, flag]) => "value" in flag && /^(FILE|DIR)$/.test(flag.value)).map(([name]) =>
          name
        )
      ),
    ),
  ];
  const name = functionName(program);
  return [
    `${name}() {`,
    `  local words cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}`,
    "  COMPREPLY=()",
    `  case "$prev" in ${
      files.map((file) => `--${file}`).join("|")
    }) COMPREPLY=($(compgen -f -- "$cur")); return ;; esac`,
    `  if [ "$COMP_CWORD" = 1 ]; then`,
    `    COMPREPLY=($(compgen -W "${all.map((one) => one.name).join(" ")} --help --version" -- "$cur"))`,
    "    return",
    "  fi",
    '  case "${COMP_WORDS[1]}" in',
    ...cases,
    "    *) return ;;",
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "$cur") $(compgen -f -- "$cur"))',
    "}",
    `complete -F ${name} ${program}`,
  ].join("\n");
}

function fish(program: string, all: readonly Completed[]): string {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  return [
    `complete -c ${program} -f`,
    ...all.flatMap(({ name, summary, flags, actions }) => [
      `complete -c ${program} -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`,
      ...actions.map((action) => `complete -c ${program} -n '__fish_seen_subcommand_from ${name}' -a ${action}`),
      ...Object.entries(flags).map(([flag, { summary, ...rest }]) => {
        const takes = "value" in rest ? /^(FILE|DIR)$/.test(rest.value) ? " -r -F" : " -x" : "";
        return `complete -c ${program} -n '__fish_seen_subcommand_from ${name}' -l ${flag}${takes} -d ${
          quoted(summary)
        }`;
      }),
    ]),
  ].join("\n");
}
