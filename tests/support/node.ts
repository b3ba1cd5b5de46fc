/**
 * The Nodes that tests run bundles on: those that `TWINTABLE_NODES` names (paths, separated by `:`; CI takes 22 and 24 from npm),
 * else the one in the path where it is 22 or later.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

/** A Node on this machine. */
export interface NodeRuntime {
  readonly path: string;
  readonly version: string;
}

/** The least version: the library needs its `node:sqlite`. */
export const nodeMajorMin = 22;

async function versionOf(path: string): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(path, { args: ["--version"] }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch {
    // There is none of that name.
    return undefined;
  }
}

async function find(): Promise<NodeRuntime[]> {
  const named = Deno.env.get("TWINTABLE_NODES") || undefined;
  const found: NodeRuntime[] = [];
  for (const path of (named ?? "node").split(":")) {
    const version = await versionOf(path);
    if (version && Number(/^v(\d+)/.exec(version)?.[1]) >= nodeMajorMin) found.push({ path, version });
    else if (named) throw new Error(`TWINTABLE_NODES: ${path} is no Node of ${nodeMajorMin} or later`);
  }
  return found;
}

/** The Nodes that there are. */
export const nodes: readonly NodeRuntime[] = await find();
/** Why there is none, or undefined. */
export const nodesMissing: string | undefined = nodes.length > 0
  ? undefined
  : `this machine has no Node ${nodeMajorMin} or later, and TWINTABLE_NODES names none`;

/** Makes the bundles in a folder, as `deno task bundle:node` does. */
export async function bundleForNode(dir: string): Promise<void> {
  const script = fileURLToPath(new URL("../../build/node.ts", import.meta.url));
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, dir],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}
