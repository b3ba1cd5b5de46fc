/**
 * What a service counts, for `/metrics`.
 *
 * @module
 */

/** Counters since the start. */
export interface ServiceMetrics {
  readonly messagesReceived: number;
  /** Messages that came again while the one before was being answered, or waited to be. */
  readonly messagesRepeated: number;
  /** Messages whose device was told to wait. */
  readonly messagesDelayed: number;
  /** Messages that found no room: their device was told to come again, where it understands that. */
  readonly messagesRefused: number;
  readonly messagesPublished: number;
  /** Messages of devices that the registry does not know. */
  readonly messagesUnknown: number;
  readonly messagesFailed: number;
  readonly publishFailed: number;
  readonly changesReceived: number;
  readonly changesRefused: number;
  /** Batches that could not be read or handled as a whole: their devices send them in halves. */
  readonly batchesRefused: number;
  readonly channelsIgnored: number;
  readonly recordsRead: number;
  /** Records that could not be read, or not be fanned out however often it was tried. */
  readonly recordsDropped: number;
  /** Records of a stream that tells too little: they were handed back. */
  readonly recordsRefused: number;
  /** Changes of items that nobody can be told of: without a type, or without the id that their scope needs. */
  readonly itemsUnidentified: number;
  readonly entriesPublished: number;
  readonly streamFailures: number;
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
