/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * A form of the Twin page: with JavaScript, its answer replaces the page; without, it is a page of its own.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import { FormToken } from "../parts.tsx";

/** The options of such a form; other attributes are the form's own. */
interface TwinFormProps {
  readonly action: string;
  readonly formToken: string;
  readonly device: string;
  readonly model: string;
  readonly children?: Child;
  readonly [attribute: string]: unknown;
}

/** See the module. */
export function TwinForm({ action, formToken, device, model, children, ...more }: TwinFormProps) {
  return (
    <form
      method="post"
      action={action}
      hx-post={action}
      hx-target="#twin"
      hx-select="#twin"
      hx-swap="outerMorph"
      {...more}
    >
      <FormToken token={formToken} />
      <input type="hidden" name="device" value={device} />
      <input type="hidden" name="model" value={model} />
      {children}
    </form>
  );
}
