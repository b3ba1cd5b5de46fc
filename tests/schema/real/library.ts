/**
 * The real `dynamodb-onetable`, in the versions whose items differ: 2.7 is today's; 1.4 and 2.3, which are in use, know
 * neither `encode` nor `map` in nested schemas. It makes items without sending them, and reads them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { Dynamo as Dynamo1 } from "dynamodb-onetable-1.4/Dynamo";
import { Table as Table1 } from "dynamodb-onetable-1.4";
import { Dynamo as Dynamo23 } from "dynamodb-onetable-2.3/Dynamo";
import { Table as Table23 } from "dynamodb-onetable-2.3";
import { Table as Table27 } from "dynamodb-onetable";

// deno-lint-ignore no-explicit-any
type Any = any;

/** The versions that are tried. */
export type Version = "1.4" | "2.3" | "2.7";

const connection = new DynamoDBClient({ region: "local", credentials: { accessKeyId: "x", secretAccessKey: "x" } });

/** A model of the library. */
export class Library {
  readonly #model: Any;
  readonly #table: Any;

  constructor(readonly version: Version, schema: Any, model: string) {
    const options = { name: "t", schema, partial: false, logger: () => {} };
    // 1.4 knows no params in the schema, and has timestamps unless it is told otherwise.
    const former = { timestamps: false, ...schema.params };
    this.#table = version === "2.7"
      ? new Table27({ ...options, client: connection })
      : version === "2.3"
      ? new Table23({ ...options, client: new Dynamo23({ client: connection } as Any) } as Any)
      : new Table1({ ...options, ...former, client: new Dynamo1({ client: connection } as Any) } as Any);
    this.#model = this.#table.getModel(model);
  }

  /** The item of these properties, as DynamoDB JSON. */
  async item(properties: Any): Promise<Record<string, Any>> {
    const { Item } = await this.#model.create(copied(properties), {
      execute: false,
      log: false,
      transaction: undefined,
    });
    return Item;
  }

  /** The properties that the library reads from an item. */
  read(item: Record<string, Any>): Record<string, Any> {
    const raw = this.#table.unmarshall(item, {});
    return this.#model.transformReadItem("get", raw, {}, {}, {});
  }
}

/** A copy: the library writes into nested objects that it is given. */
export function copied(value: Any): Any {
  if (Array.isArray(value)) return value.map(copied);
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copied(member)]));
}

/** Properties or an item, so that they compare: bytes as base64, sets and their order alike. */
export function comparable(value: Any): Any {
  return JSON.parse(JSON.stringify(value, (key, member) => {
    if (member?.type === "Buffer") return Buffer.from(member.data).toString("base64");
    if (member instanceof Uint8Array) return Buffer.from(member).toString("base64");
    if (member instanceof Set) return [...member].sort();
    return ["SS", "NS", "BS"].includes(key) ? [...member].sort() : member;
  }));
}
