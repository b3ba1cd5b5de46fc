/**
 * The limits of each kind of message, checked before a device's payload is parsed: a payload of 34 KB may inflate to 8
 * MB of brackets, which take seconds to parse.
 *
 * An item has at most 400 KB (DynamoDB). As JSON with escapes, together with its base, it takes some 5 MB, and each of
 * its members takes at least two bytes. All other messages consist of names, keys and cursors: at most a hundred keys
 * of 3 KB.
 *
 * @module
 */

/** Bounds of a message as JSON. */
export interface MessageLimits {
  readonly bytesMax: number;
  /** Commas, colons and opening brackets: about as many values as there are. */
  readonly marksMax: number;
}

/** Of a batch of changes. */
export const batchLimits: MessageLimits = { bytesMax: 8 * 1024 * 1024, marksMax: 500_000 };
/** For all other messages of a device. */
export const askLimits: MessageLimits = { bytesMax: 640 * 1024, marksMax: 40_000 };

/** A text with fewer bytes cannot exceed the bound of marks. */
const countedBytesMin = 32 * 1024;

/** Whether a JSON text has more marks than allowed; what is inside its texts counts like everything else. */
export function hasTooManyMarks(json: Uint8Array, marksMax: number): boolean {
  if (json.length < countedBytesMin) return false;
  let marks = 0;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    // , : [ {
    if ((byte === 0x2c || byte === 0x3a || byte === 0x5b || byte === 0x7b) && ++marks > marksMax) return true;
  }
  return false;
}
