/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * A newcomer's first minute on the Twin page: three steps, ticked by what really happens (`travels.ts`).
 *
 * @module
 */
import { took } from "../format.ts";
import { Check } from "../icons.tsx";
import type { Steps } from "../travels.ts";

function stepsOf({ left, right, both }: Steps, isCut: boolean) {
  return [
    {
      done: left !== undefined,
      title: "Change a value on the left",
      text: left === undefined ? "Click a value, type, press Enter." : `It was in the cloud ${took(left)} later.`,
    },
    {
      done: right !== undefined,
      title: "Change one on the right",
      text: right === undefined ? "Click a value, type, press Enter." : `It was on the device ${took(right)} later.`,
    },
    {
      done: both === "done",
      title: "Pull the plug, change both, plug in",
      text: both === "done"
        ? "Both sides are equal; the losing version is kept."
        : isCut
        ? "Unplugged. Change both sides, then switch Offline off."
        : "Both end up equal; nothing is lost.",
    },
  ];
}

export function FirstMinute({ steps: done, isCut }: { steps: Steps; isCut: boolean }) {
  const steps = stepsOf(done, isCut), at = steps.findIndex(({ done }) => !done);
  return (
    <ol class="minute" aria-label="Your first minute">
      {steps.map(({ done, title, text }, i) => (
        <li class={done ? "done" : i === at ? "now" : ""} data-step={i + 1}>
          <span class="mark">{done ? <Check /> : i + 1}</span>
          <span>
            <b>{title}{done ? <span class="sr">{" (done)"}</span> : null}</b>
            <span class="muted">{text}</span>
          </span>
        </li>
      ))}
    </ol>
  );
}
