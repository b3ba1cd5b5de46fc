/**
 * The address of a DynamoDB table: `dynamodb://NAME?region=…&endpoint=…&log=NAME`. Credentials are never in it: they
 * come from the AWS default chain.
 *
 * @module
 */

import { withoutSecrets } from "../../protocol/log.ts";

/** The content of a `dynamodb://` URL. */
export interface DynamoUrl {
  /** The data table. */
  readonly table: string;
  /** The log table: `log=`, by default the data table's name and `-log`. */
  readonly log: string;
  /** Default: from the AWS configuration (`AWS_REGION`, the profile). */
  readonly region?: string;
  /** By default `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_ENDPOINT_URL`, or AWS's own endpoint of the region. */
  readonly endpoint?: string;
}

/** DynamoDB's rule for table names (Naming Rules in the developer guide): 3 to 255 of these characters. */
const tableNamePattern = /^[A-Za-z0-9_.-]{3,255}$/;
const shape = "dynamodb://TABLE[?region=REGION&endpoint=URL&log=LOGTABLE]";
const parameters = ["region", "endpoint", "log"];

/**
 * Reads a `dynamodb://` URL.
 *
 * @throws RangeError with one sentence: what is wrong, and what is expected.
 */
export function parseDynamoUrl(text: string): DynamoUrl {
  const refuse = (reason: string): never => {
    throw new RangeError(`the table "${withoutSecrets(text)}" ${reason}; wanted ${shape}`);
  };
  const match = /^dynamodb:\/\/([^/?#]*)\/?(?:\?([^#]*))?$/.exec(text);
  if (!match) return refuse("is no DynamoDB URL");
  const table = decode(match[1]!) ?? refuse("has a name that is not well encoded");
  const query = new URLSearchParams(match[2] ?? "");
  for (const name of new Set(query.keys())) {
    if (!parameters.includes(name)) refuse(`has an unknown parameter "${name}"`);
    if (query.getAll(name).length > 1) refuse(`has the parameter "${name}" more than once`);
    if (query.get(name) === "") refuse(`has an empty parameter "${name}"`);
  }
  const log = query.get("log") ?? `${table}-log`;
  for (const name of [table, log]) {
    if (!tableNamePattern.test(name)) refuse(`names "${name}", but a table name is 3 to 255 of A-Z a-z 0-9 _ . -`);
  }
  if (table === log) refuse("names one table for data and log");
  const region = query.get("region") ?? undefined;
  if (region !== undefined && !/^[a-z0-9-]{2,32}$/.test(region)) refuse(`has a region "${region}" that can't be one`);
  const endpoint = query.get("endpoint") ?? undefined;
  if (endpoint !== undefined && !/^https?:$/.test(URL.parse(endpoint)?.protocol ?? "")) {
    refuse(`has an endpoint "${withoutSecrets(endpoint)}" that is not an http or https URL`);
  }
  return { table, log, ...(region === undefined ? {} : { region }), ...(endpoint === undefined ? {} : { endpoint }) };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
