/**
 * Listens to a table's change stream on its way to the cloud's service, so that `dev` can show every change, whoever
 * wrote it. It changes nothing: batches and their checkpoints pass through.
 *
 * @module
 */
import type { DataTable, StreamBatch, StreamRecord } from "../cloud/table/port.ts";

type Batches = AsyncIterable<StreamBatch | { readonly lost: true }>;

async function* tapped(batches: Batches, seen: (record: StreamRecord) => void): Batches {
  for await (const batch of batches) {
    if ("records" in batch) { for (const record of batch.records) seen(record); }
    yield batch;
  }
}

/** Calls `seen` for each record that is read from the table's streams from now on. It must not throw. */
export function tapStream(data: DataTable, seen: (record: StreamRecord) => void): void {
  const open = data.stream.bind(data);
  data.stream = () => {
    const stream = open();
    return { batches: (signal) => tapped(stream.batches(signal), seen) };
  };
}
