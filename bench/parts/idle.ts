/**
 * A process that does nothing.
 *
 * @module
 */
import { answerCalls } from "../child.ts";

await answerCalls({ nothing: () => {} });
