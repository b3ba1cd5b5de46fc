/**
 * A process that looks at a console as open pages do: each holds a stream of events, and reads all that comes.
 *
 * @module
 */
import { answerCalls } from "../child.ts";

const abort = new AbortController();
let bytes = 0;

async function read(body: ReadableStream<Uint8Array>): Promise<void> {
  try {
    for await (const part of body) bytes += part.length;
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  }
}

const methods = {
  /** Opens so many pages' streams, and resolves when each has begun. */
  async watch({ url, count }: { url: string; count: number }) {
    for (let at = 0; at < count; at++) {
      const { status, body } = await fetch(`${url}/console/events?on=change,stage,gap,fleet`, { signal: abort.signal });
      if (status !== 200 || !body) throw new Error(`a stream is answered ${status}`);
      void read(body);
    }
  },
  /** Bytes that came. */
  bytes: () => bytes,
};

await answerCalls(methods, () => abort.abort());
