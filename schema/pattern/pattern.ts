/**
 * Regular expressions whose time is linear in the text. JavaScript's own engine tries one path after another; `(a+)+$`
 * has exponentially many, and a device chooses the text. This matcher follows all paths at once (Thompson's
 * construction): one step for each character and each reachable place in the expression.
 *
 *     tree ─▶ program: character | split | jump | assertion | accept
 *     text ─▶ the set of places reached before each character
 *
 * Lookahead (`(?=…)`) and lookbehind are computed for all places at once, by one run of the inner expression over the
 * whole text, backwards for lookahead. So nothing is ever tried twice.
 *
 * Guarantee: `test` answers as `RegExp.prototype.test` does, or reports that the text is too expensive, after
 * {@link stepsMax} steps: some 60 ms.
 *
 * @module
 */
import { type Assertion, type Node, parsePattern, PatternRefused } from "./parse.ts";

export { PatternRefused } from "./parse.ts";

/** Steps of one test. An ordinary expression takes 3 to 10 steps a character: a text of 100,000 characters is fine. */
export const stepsMax = 1_000_000;
/** Instructions of a program: `[a-z]{0,1000}` has 2,000. */
const programMax = 20_000;

type Instruction =
  | { readonly op: "character"; readonly test: (character: string) => boolean }
  | { readonly op: "split"; other: number }
  | { readonly op: "jump"; to: number }
  | { readonly op: "assert"; readonly assertion: Assertion; readonly inner?: Program }
  | { readonly op: "accept" };

interface Program {
  readonly code: readonly Instruction[];
  readonly backwards: boolean;
}

/** Characters of a text, by index: code units, or code points where the expression says so. */
type Characters = ArrayLike<string>;

class TooDear extends Error {}

/** The total cost of tests. */
export interface Effort {
  steps: number;
}

/** See the module. */
export class Pattern {
  readonly #program: Program;
  readonly #native: RegExp | undefined;
  readonly #unicode: boolean;

  /** @throws SyntaxError for an invalid expression; PatternRefused */
  constructor(source: string, flags: string) {
    const native = new RegExp(source, flags), tree = parsePattern(source, flags);
    this.#unicode = flags.includes("u");
    this.#program = compile(tree, false, { instructions: 0, looks: new Map() });
    this.#native = isPlain(tree) ? native : undefined;
  }

  /** Whether the text, or a part of it, matches; undefined: too expensive to tell. Adds its steps to the effort. */
  test(text: string, effort: Effort = { steps: 0 }): boolean | undefined {
    if (this.#native) return this.#native.test(text);
    const characters = this.#unicode && /[\ud800-\udfff]/.test(text) ? Array.from(text) : text;
    const run = new Run(characters);
    try {
      return run.accepts(this.#program);
    } catch (error) {
      if (error instanceof TooDear) return undefined;
      throw error;
    } finally {
      effort.steps += run.steps;
    }
  }
}

/**
 * Anchored at the text's start, with at most one quantifier that has a choice: here JavaScript's engine is linear, and
 * fastest.
 */
function isPlain(tree: Node): boolean {
  const [first, ...rest] = tree.kind === "sequence" ? tree.parts : [tree];
  if (first?.kind !== "start" || first.lines) return false;
  let choices = 0;
  return rest.every((part) => {
    if (part.kind === "character" || part.kind === "end") return true;
    if (part.kind !== "repeat" || part.of.kind !== "character") return false;
    return part.min === part.max || ++choices === 1;
  });
}

/**
 * State that the programs of one expression share: their total size, and the inner programs, each compiled once however
 * often it is repeated.
 */
interface Compiled {
  instructions: number;
  readonly looks: Map<Node, Program>;
}

function compile(tree: Node, backwards: boolean, shared: Compiled): Program {
  const code: Instruction[] = [];
  const put = <T extends Instruction>(instruction: T): T => {
    if (++shared.instructions > programMax) throw new PatternRefused("repeats too much: write it with smaller counts");
    code.push(instruction);
    return instruction;
  };
  const either = (first: () => void, second: () => void) => {
    const split = put({ op: "split" as const, other: 0 });
    first();
    const jump = put({ op: "jump" as const, to: 0 });
    split.other = code.length;
    second();
    jump.to = code.length;
  };
  const emit = (node: Node): void => {
    switch (node.kind) {
      case "character":
        return void put({ op: "character", test: node.test });
      case "sequence":
        return (backwards ? [...node.parts].reverse() : node.parts).forEach(emit);
      case "choice":
        return node.options.reduceRight<() => void>(
          (rest, option, at) =>
            at === node.options.length - 1 ? () => emit(option) : () => either(() => emit(option), rest),
          () => {},
        )();
      case "repeat":
        return repeat(node);
      case "look": {
        // Lookahead runs from the text's end, lookbehind from its start.
        const inner = shared.looks.get(node) ?? compile(node.at, node.ahead, shared);
        shared.looks.set(node, inner);
        return void put({ op: "assert", assertion: node, inner });
      }
      default:
        return void put({ op: "assert", assertion: node });
    }
  };
  const repeat = ({ of, min, max }: Node & { kind: "repeat" }): void => {
    for (let at = 0, begin = -1; at < min && code.length > begin; at++) {
      begin = code.length;
      emit(of);
    }
    if (max === Infinity) {
      const begin = code.length, split = put({ op: "split" as const, other: 0 });
      emit(of);
      put({ op: "jump", to: begin });
      split.other = code.length;
      return;
    }
    const splits: { other: number }[] = [];
    for (let at = min; at < max; at++) {
      splits.push(put({ op: "split" as const, other: 0 }));
      emit(of);
    }
    for (const split of splits) split.other = code.length;
  };
  emit(tree);
  put({ op: "accept" });
  return { code, backwards };
}

const lineEnd = /[\n\r\u2028\u2029]/;

/** One text's test. */
class Run {
  steps = 0;
  /** Where an inner expression matches, by place. */
  readonly #looked = new Map<Program, Uint8Array>();

  constructor(readonly text: Characters) {}

  /** Whether the program matches, starting at any place. */
  accepts(program: Program): boolean {
    return this.#follow(program, () => true);
  }

  /**
   * Runs a program that may start at every place, and calls back at each place where it ends, until the callback stops
   * it.
   */
  #follow({ code, backwards }: Program, accepted: (place: number) => boolean): boolean {
    const marks = new Int32Array(code.length).fill(-1), stack: number[] = [];
    let reached: number[] = [], next: number[] = [];
    /** Adds an instruction and all that it reaches without a character; true if one of them is the end. */
    const add = (list: number[], from: number, place: number): boolean => {
      let isEnd = false;
      stack.push(from);
      for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
        if (marks[at] === place) continue;
        marks[at] = place;
        if (++this.steps > stepsMax) throw new TooDear();
        const instruction = code[at]!;
        if (instruction.op === "character") list.push(at);
        else if (instruction.op === "jump") stack.push(instruction.to);
        else if (instruction.op === "split") stack.push(instruction.other, at + 1);
        else if (instruction.op === "accept") isEnd = true;
        else if (this.#holds(instruction.assertion, instruction.inner, place)) stack.push(at + 1);
      }
      return isEnd;
    };
    const { length } = this.text, step = backwards ? -1 : 1;
    for (let place = backwards ? length : 0;; place += step) {
      // Two adds at one place share the marks: the first may find the end for both.
      let isEnd = false;
      for (const at of reached) isEnd = add(next, at, place) || isEnd;
      isEnd = add(next, 0, place) || isEnd;
      if (isEnd && accepted(place)) return true;
      if (place === (backwards ? 0 : length)) return false;
      const character = this.text[backwards ? place - 1 : place]!;
      reached = [];
      for (const at of next) {
        const { test } = code[at] as Instruction & { op: "character" };
        if (test(character)) reached.push(at + 1);
      }
      next = [];
    }
  }

  #holds(assertion: Assertion, inner: Program | undefined, place: number): boolean {
    const { text } = this, before = text[place - 1], after = text[place];
    switch (assertion.kind) {
      case "start":
        return before === undefined || (assertion.lines && lineEnd.test(before));
      case "end":
        return after === undefined || (assertion.lines && lineEnd.test(after));
      case "boundary": {
        const isWord = (character: string | undefined) => character !== undefined && assertion.isWord(character);
        return (isWord(before) !== isWord(after)) !== assertion.negative;
      }
      case "look":
        return (this.#look(inner!)[place] === 1) !== assertion.negative;
    }
  }

  #look(program: Program): Uint8Array {
    let found = this.#looked.get(program);
    if (!found) {
      found = new Uint8Array(this.text.length + 1);
      const table = found;
      this.#follow(program, (place) => {
        table[place] = 1;
        return false;
      });
      this.#looked.set(program, table);
    }
    return found;
  }
}
