/**
 * `cloud --device-jwt FILE`: how devices' JWTs are checked, as a JSON file.
 *
 *     {"issuer": "https://id.example.com", "audience": "twintable", "jwks": "keys.json or https://…",
 *      "algorithms": ["ES256"], "device": "sub", "account": "account", "scope": "twintable"}
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import type { JwtOptions } from "../cloud/identity/jwt.ts";
import { CommandError } from "./command.ts";
import { readFlagFile } from "./connection.ts";

const known = ["issuer", "audience", "jwks", "algorithms", "device", "account", "scope"];

/** Reads the file, and the key set beside it. @throws {CommandError} naming what is wrong */
export async function readDeviceJwt(file: string): Promise<JwtOptions> {
  const refuse = (why: string) => new CommandError(`--device-jwt ${file}: ${why}`);
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(await readFlagFile("device-jwt", file));
  } catch (cause) {
    throw cause instanceof SyntaxError ? refuse(`it is not JSON: ${cause.message}`) : cause;
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) throw refuse("an object is required");
  const unknown = Object.keys(fields).find((name) => !known.includes(name));
  if (unknown !== undefined) throw refuse(`unknown ${JSON.stringify(unknown)}; known are ${known.join(", ")}`);
  const text = (name: string, fallback?: string): string => {
    const value = fields[name] ?? fallback;
    if (typeof value !== "string" || value === "") throw refuse(`${name} is a text, and required`);
    return value;
  };
  const { algorithms } = fields;
  if (algorithms !== undefined && !(Array.isArray(algorithms) && algorithms.every((one) => typeof one === "string"))) {
    throw refuse("algorithms is a list of names");
  }
  const jwks = text("jwks");
  return {
    issuer: text("issuer"),
    audience: text("audience"),
    keys: /^https?:\/\//.test(jwks)
      ? { url: jwks }
      : { set: await readFlagFile("device-jwt", resolve(dirname(file), jwks)) },
    ...(algorithms === undefined ? {} : { algorithms }),
    deviceClaim: text("device", "sub"),
    accountClaim: text("account", "account"),
    ...(fields.scope === undefined ? {} : { scope: text("scope") }),
  };
}
