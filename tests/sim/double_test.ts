/**
 * The simulation's double of DynamoDB keeps the contract that the real adapters keep.
 *
 * @module
 */
import { contractSchema, tableContract } from "../cloud/table_contract.ts";
import { Double } from "./double.ts";
import { SimStream } from "./stream.ts";

tableContract("simulated DynamoDB", () => {
  const stream = new SimStream({ shards: 3, manual: false });
  const double = new Double({ schema: contractSchema, now: Date.now, lagMs: () => Math.random() * 100, stream });
  return Promise.resolve({ tables: double.view({ chunk: 7 }), dispose: () => Promise.resolve() });
});
