/**
 * What requests consume, counted from what DynamoDB answers: each request of a table asks for it. A write whose condition is
 * refused costs its units too, but its answer does not say how many.
 *
 * @module
 */
import {
  BatchGetItemCommand,
  DeleteItemCommand,
  PutItemCommand,
  QueryCommand,
  ScanCommand,
} from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import type { ConsumedUnits } from "../table/port.ts";
import type { Command } from "./client.ts";

interface Consumed {
  readonly CapacityUnits?: number;
}

/** See the module. */
export class UnitMeter {
  #read = 0;
  #write = 0;

  get units(): ConsumedUnits {
    return { read: this.#read, write: this.#write };
  }

  /** Counts what a command's answer says: see {@link askingForUnits}. */
  async count<Output>(command: Command, answer: Promise<Output>): Promise<Output> {
    const output = await answer;
    const consumed = (output as { ConsumedCapacity?: Consumed | readonly Consumed[] } | undefined)?.ConsumedCapacity;
    const units = [consumed ?? []].flat().reduce((sum, { CapacityUnits = 0 }) => sum + CapacityUnits, 0);
    if (isWrite(command)) this.#write += units;
    else this.#read += units;
    return output;
  }
}

function isWrite(command: Command): boolean {
  return command instanceof PutItemCommand || command instanceof DeleteItemCommand;
}

/** The command, which asks for what it consumes where it is one that consumes. */
export function askingForUnits(command: Command): Command {
  const consumes = isWrite(command) || command instanceof BatchGetItemCommand || command instanceof QueryCommand ||
    command instanceof ScanCommand;
  if (consumes) command.input.ReturnConsumedCapacity = "TOTAL";
  return command;
}
