/**
 * Rules of `deno lint` for what is shipped: a function fits a screen, a file has one concept, and what runs on Node uses
 * nothing that Node 22 lacks.
 *
 * @module
 */
import { relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Lines of one function, from its first word to its closing brace. */
export const functionLinesMax = 70;
/** Lines of one file. */
export const fileLinesMax = 500;

const root = fileURLToPath(new URL("../..", import.meta.url));
const shipped = /^(?:(?:agent|cli|cloud|mqtt|protocol|schema)\/|[^/]+$)/;

function pathOf(filename: string): string {
  return relative(root, filename).split(sep).join("/");
}

function linesOf(context: Deno.lint.RuleContext, node: Deno.lint.Node): number {
  return context.sourceCode.text.slice(...node.range).split("\n").length;
}

type AnyFunction =
  | Deno.lint.FunctionDeclaration
  | Deno.lint.FunctionExpression
  | Deno.lint.ArrowFunctionExpression;

function functionLength(context: Deno.lint.RuleContext): Deno.lint.LintVisitor {
  const path = pathOf(context.filename);
  const check = (node: AnyFunction) => {
    const lines = linesOf(context, node);
    if (lines <= functionLinesMax) return;
    context.report({
      node: "id" in node && node.id ? node.id : node,
      message: `a function of ${lines} lines, and ${functionLinesMax} fit a screen`,
      hint: "the caller branches, the helpers are pure",
    });
  };
  return shipped.test(path)
    ? { FunctionDeclaration: check, FunctionExpression: check, ArrowFunctionExpression: check }
    : {};
}

function fileLength(context: Deno.lint.RuleContext): Deno.lint.LintVisitor {
  const path = pathOf(context.filename);
  if (!shipped.test(path)) return {};
  return {
    Program(node) {
      const lines = context.sourceCode.text.trimEnd().split("\n").length;
      if (lines <= fileLinesMax) return;
      context.report({ node, message: `a file of ${lines} lines, and ${fileLinesMax} are many for one concept` });
    },
  };
}

/** What is in the bundles for Node: its version 22, as AWS Lambda has it, can't read a `using` declaration. */
const onNode = /^(?:agent|cloud|mqtt|protocol|schema)\//;

function noUsing(context: Deno.lint.RuleContext): Deno.lint.LintVisitor {
  if (!onNode.test(pathOf(context.filename))) return {};
  return {
    VariableDeclaration(node) {
      if (!node.kind.includes("using")) return;
      context.report({ node, message: `"${node.kind}" is not known to Node 22`, hint: "try … finally" });
    },
  };
}

const plugin: Deno.lint.Plugin = {
  name: "twintable",
  rules: {
    "function-length": { create: functionLength },
    "file-length": { create: fileLength },
    "no-using-on-node": { create: noUsing },
  },
};
export default plugin;
