/**
 * What a service counts, for `/metrics`.
 *
 * @module
 */

/** Counters since the start. */
export interface ServiceMetrics {
  /** Messages of devices. */
  readonly messagesReceived: number;
  /** Messages that came again while the one before was being answered, or waited to be. */
  readonly messagesRepeated: number;
  /** Messages whose device was told to wait. */
  readonly messagesDelayed: number;
  /** Messages that found no room: their device was told to come again, where it understands that. */
  readonly messagesRefused: number;
  /** Messages to devices. */
  readonly messagesPublished: number;
  /** Messages of devices that the registry does not know. */
  readonly messagesUnknown: number;
  /** Messages that could not be answered. */
  readonly messagesFailed: number;
  /** Messages that the broker did not take. */
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
  /** Records that could not be read, or not be fanned out however often it was tried. */
  readonly recordsDropped: number;
  /** Records of a stream that tells too little: they were handed back. */
  readonly recordsRefused: number;
  /** Changes of items that nobody can be told of: without a type, or without the id that their scope needs. */
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

/** Counters that begin at nothing. */
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
