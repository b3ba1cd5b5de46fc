/**
 * A service's counters, for `/metrics`.
 *
 * @module
 */

/** Counters since the start. */
export interface ServiceMetrics {
  /** Messages of devices. */
  readonly messagesReceived: number;
  /** Repeated messages that arrived while the earlier one waited or was being answered. */
  readonly messagesRepeated: number;
  /** Messages that were answered with `later`. */
  readonly messagesDelayed: number;
  /** Messages that found no room: their device got `later`, if it understands that. */
  readonly messagesRefused: number;
  /** Messages to devices. */
  readonly messagesPublished: number;
  /** Messages of devices that the registry does not know. */
  readonly messagesUnknown: number;
  /** Messages that could not be answered. */
  readonly messagesFailed: number;
  /** Messages that the broker did not accept. */
  readonly publishFailed: number;
  /** Changes of devices. */
  readonly changesReceived: number;
  /** Of these, answered otherwise than `ok`. */
  readonly changesRefused: number;
  /** Batches that could not be read or handled as a whole: their devices send them in halves. */
  readonly batchesRefused: number;
  /** Channels that a device asked for and that are not its own. */
  readonly channelsIgnored: number;
  /** Records of the table's stream. */
  readonly recordsRead: number;
  /** Records that could not be read, or could not be fanned out after several attempts. */
  readonly recordsDropped: number;
  /** Records of a stream without both images: they were handed back. */
  readonly recordsRefused: number;
  /** Changes of items that reach no device: without a type, or without the id that their scope needs. */
  readonly itemsUnidentified: number;
  /** Entries of channel logs that were published. */
  readonly entriesPublished: number;
  /** Faults in reading the stream. */
  readonly streamFailures: number;
  /** How often the stream lost records. */
  readonly streamLost: number;
}

/** The counters as the service's parts count them. */
export type Counters = { -readonly [name in keyof ServiceMetrics]: number };

/** Counters that start at 0. */
export function noMetrics(): Counters {
  return {
    messagesReceived: 0,
    messagesRepeated: 0,
    messagesDelayed: 0,
    messagesRefused: 0,
    messagesPublished: 0,
    messagesUnknown: 0,
    messagesFailed: 0,
    publishFailed: 0,
    changesReceived: 0,
    changesRefused: 0,
    batchesRefused: 0,
    channelsIgnored: 0,
    recordsRead: 0,
    recordsDropped: 0,
    recordsRefused: 0,
    itemsUnidentified: 0,
    entriesPublished: 0,
    streamFailures: 0,
    streamLost: 0,
  };
}
