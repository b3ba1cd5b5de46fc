/**
 * A cloud with a console for tests: the embedded table in a folder of its own, free ports.
 *
 * @module
 */
import { type Cloud, type HttpOptions, startCloud } from "../../cloud/worker.ts";
import { schema as exampleSchema } from "../../examples/schema.ts";
import type { OneTableSchema } from "../../schema.ts";
import { TempDir } from "../support/temp_dir.ts";

/** A cloud and its address. */
export class TestCloud implements AsyncDisposable {
  private constructor(readonly dir: TempDir, readonly cloud: Cloud, readonly url: string) {}

  static async start(
    { schema = exampleSchema, ...http }: HttpOptions & { schema?: OneTableSchema } = {},
  ): Promise<TestCloud> {
    const dir = new TempDir();
    const cloud = await startCloud({ schema, table: `embedded:${dir.file("cloud.db")}` });
    return new TestCloud(dir, cloud, `http://127.0.0.1:${cloud.serveHttp(http)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cloud.close();
    this.dir[Symbol.dispose]();
  }
}
