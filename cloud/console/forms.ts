/**
 * Reads forms, with bounds.
 *
 * @module
 */
import type { Context } from "npm:hono@^4.13.19";
import { ApiError } from "../api/errors.ts";
import { readBody } from "../api/request.ts";

const formBytesMax = 1024 * 1024;

/** The form of a request. @throws ApiError 400, 408, 413 */
export async function formOf(c: Context): Promise<FormData> {
  const type = c.req.header("content-type") ?? "";
  if (!/^(application\/x-www-form-urlencoded|multipart\/form-data)\b/i.test(type)) {
    throw new ApiError(400, "content-type", "This address takes a form; programs use /api.");
  }
  const body = await readBody(c.req.raw, formBytesMax);
  try {
    return await new Response(new Uint8Array(body), { headers: { "content-type": type } }).formData();
  } catch {
    // Any error of the form's parser.
    throw new ApiError(400, "invalid", "The form can't be read.");
  }
}

/** A field's text; undefined if it is missing or a file. */
export function textOf(form: FormData | URLSearchParams, name: string): string | undefined {
  const value = form.get(name);
  return typeof value === "string" ? value : undefined;
}
