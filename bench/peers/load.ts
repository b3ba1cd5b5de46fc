/**
 * The peers' packages. They are named here alone and loaded at run time, so that neither the checks nor the lock file of
 * the product know of them; the versions are fixed, so that figures can be repeated.
 *
 * @module
 */

const packages = {
  pouchdb: "npm:pouchdb@9.0.0",
  "express-pouchdb": "npm:express-pouchdb@4.2.0",
  express: "npm:express@4.21.2",
  rxdb: "npm:rxdb@17.6.0",
  "rxdb/memory": "npm:rxdb@17.6.0/plugins/storage-memory",
  "rxdb/websocket": "npm:rxdb@17.6.0/plugins/replication-websocket",
  tinybase: "npm:tinybase@10.0.1",
  "tinybase/server": "npm:tinybase@10.0.1/synchronizers/synchronizer-ws-server",
  "tinybase/client": "npm:tinybase@10.0.1/synchronizers/synchronizer-ws-client",
  "tinybase/file": "npm:tinybase@10.0.1/persisters/persister-file",
  ws: "npm:ws@8.18.3",
} as const;

/** Loads a package. Untyped on purpose: its types are not worth a dependency of the checks. */
// deno-lint-ignore no-explicit-any
export async function load(name: keyof typeof packages): Promise<any> {
  return await import(packages[name]);
}

/** The measurement that every peer carries: what a row of `Telemetry` has, its id included. */
export function measurement(n: number): Record<string, string | number> {
  const id = `${String(n).padStart(10, "0")}0123456789abcdef`;
  return { id, n, cpu: (n * 37 % 1000) / 10, memory: 2_000_000 + n * 4096 % 1_000_000, state: n % 50 ? "ok" : "warn" };
}
