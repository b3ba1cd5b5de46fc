/**
 * What a message of a kind can be at most, so that what a device sends is looked at before it is taken apart: a payload of
 * 34 KB may inflate to 8 MB of brackets, whose reading takes seconds.
 *
 * An item has 400 KB at most (DynamoDB), as JSON with escapes and its base beside it some 5 MB, and so many members that
 * each takes two bytes. Everything that is not a batch is names, keys and cursors: a hundred keys of 3 KB.
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
/** Of whatever else a device sends. */
export const askLimits: MessageLimits = { bytesMax: 640 * 1024, marksMax: 40_000 };

/** A text of fewer bytes has fewer marks than any bound. */
const countedBytesMin = 32 * 1024;

/** Whether a JSON text has more marks than allowed; what stands inside its texts counts like everything else. */
export function hasTooManyMarks(json: Uint8Array, marksMax: number): boolean {
  if (json.length < countedBytesMin) return false;
  let marks = 0;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    // , : [ {
    if (byte === 0x2c || byte === 0x3a || byte === 0x5b || byte === 0x7b) marks++;
  }
  return marks > marksMax;
}
