/**
 * Planted bugs in what is shipped: the single binary and its permissions, drivers, the handler's entries. Each names the test
 * file that must fail.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const drivers = "tests/agent/sqlite/driver_test.ts";
const commands = "tests/cli/device_commands_test.ts";

/** The planted bugs. */
export const shipped: readonly Mutant[] = [
  guarded(
    "free pages keep what was deleted",
    "reset --rows leaves nothing of the rows in the file, without VACUUM either",
    commands,
    "agent/migration/reset.ts",
    `  fillFreePages(db);\n`,
    "",
  ),
  guarded(
    "freed pages keep the rows",
    "reset --rows leaves nothing of the rows in the file, without VACUUM either",
    commands,
    "agent/migration/reset.ts",
    `secure_delete = ON`,
    `secure_delete = OFF`,
  ),
  guarded(
    "integral doubles wrap",
    "the FFI driver binds a number by its class, whatever its size",
    drivers,
    "agent/sqlite/driver_ffi.ts",
    `if (typeof value === "number") return lib.sqlite3_bind_double(statement, at, value);`,
    `if (typeof value === "number" && !Number.isInteger(value)) return lib.sqlite3_bind_double(statement, at, value);
    if (typeof value === "number") return lib.sqlite3_bind_int64(statement, at, BigInt.asIntN(64, BigInt(value)));`,
  ),
  guarded(
    "the last values stay bound",
    "the FFI driver binds what it is given and nothing from before",
    drivers,
    "agent/sqlite/driver_ffi.ts",
    `if (this.#parameters > 0) lib.sqlite3_clear_bindings(this.#statement);`,
    ``,
  ),
  guarded(
    "a step's error is the end of a list",
    "a list that can't be read to its end throws, by each driver",
    drivers,
    "agent/sqlite/driver_ffi.ts",
    `if (code === done) return false;`,
    `if (code !== row) return false;`,
  ),
  guarded(
    "a library is found by the file alone",
    "two SQLites in one process are refused where it can be seen",
    "tests/cli/encryption_test.ts",
    "agent/sqlite/other_connections.ts",
    `=== file);`,
    `=== path);`,
  ),
  guarded(
    "lambda: cookies stay at the door",
    "a function hears of cookies apart from the headers: nobody stays signed in",
    "tests/cloud/lambda_test.ts",
    "cloud/lambda_http.ts",
    `if (cookies && cookies.length > 0) given`,
    `if (cookies && cookies.length < 0) given`,
  ),
  guarded(
    "lambda: one of several cookies",
    "a function sets cookies apart from the headers, of which each has one value",
    "tests/cloud/lambda_test.ts",
    "cloud/lambda_http.ts",
    `...(cookies.length > 0 && { cookies }),`,
    ``,
  ),
  guarded(
    "lambda: an odd request is the function's fault",
    "what a caller sends is answered",
    "tests/cloud/lambda_test.ts",
    "cloud/lambda.ts",
    `await fetched().catch(errorResponse)`,
    `await fetched()`,
  ),
  guarded(
    "lambda: the stage is a part of the path",
    "every route is found, whatever the stage is called",
    "tests/cloud/lambda_test.ts",
    "cloud/lambda_http.ts",
    `if (stage === undefined || stage === "$default")`,
    `if (stage !== "")`,
  ),
  guarded(
    "lambda: a stream is waited for",
    "a function says at once that it sends no stream of events",
    "tests/cloud/lambda_test.ts",
    "cloud/lambda_http.ts",
    `if (type.startsWith("text/event-stream"))`,
    `if (type.startsWith("text/event-streams"))`,
  ),
  guarded(
    "any 200 is a publish",
    "a proxy's page is no answer of a broker",
    "tests/cloud/publishers/publishers_test.ts",
    "cloud/publishers/http.ts",
    `if (isSuccess && this.isOwnAnswer(said)) return;`,
    `if (isSuccess) return;`,
  ),
  guarded(
    "a handler's number without an upper bound",
    "a time that no timer can wait for is refused before anything listens",
    "tests/e2e/handler_test.ts",
    "cloud/handler_config.ts",
    ` && value <= most) return value;`,
    `) return value;`,
  ),
  guarded(
    "an error without its variable",
    "a handler's wrong variable is named",
    "tests/e2e/handler_test.ts",
    "cloud/handler_config.ts",
    "`${name}: ${(cause as Error).message}`, { cause, hint",
    "(cause as Error).message, { cause, hint",
  ),
  guarded(
    "ended before its answer is sent",
    "a handler's answer reaches its caller before SIGTERM ends the process",
    "tests/e2e/handler_test.ts",
    "cloud/handler.ts",
    `if (!this.#answered) return;`,
    `if (this.#answered) return;`,
  ),
];
