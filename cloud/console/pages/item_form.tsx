/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * An item's editors, one a field by its type, and what they send back. For each value that may lack one, null and absent are
 * choices of their own; an empty text is a text.
 *
 * @module
 */
import type { Field, Model } from "../../../schema/model.ts";
import { ApiError } from "../../api/errors.ts";
import { textOf } from "../forms.ts";
import type { PlainItem } from "../local_device.ts";
import { FieldError, textOfValue, valueOf } from "../typed.ts";

/** Why a field is not a person's to change; undefined: it is. */
export function lockOf(model: Model, field: Field, isNew: boolean): string | undefined {
  if (field.template) return "computed from other values";
  if (field.timestamp) return "set by each write";
  if (!field.synced) return "stays on devices";
  const isKey = model.identityFields.includes(field.name) || model.keyFields.includes(field.name);
  return isKey && !isNew ? "part of the key: another key is another item" : undefined;
}

/** What a form holds for each field: its state and its text, kept over a refusal. */
export type Typed = ReadonlyMap<string, { readonly state: "value" | "null" | "absent"; readonly text: string }>;

/** The typed values of an item that is edited; defaults of a new one. */
export function typedOf(model: Model, item: PlainItem | undefined): Typed {
  return new Map(model.fields.map((field) => {
    const value = item ? item[field.name] : field.default;
    const state = value === undefined ? "absent" : value === null ? "null" : "value";
    return [field.name, { state, text: textOfValue(field, value) }] as const;
  }));
}

/** What was sent, as typed. */
export function typedIn(model: Model, form: FormData, isNew: boolean): Typed {
  return new Map(
    model.fields.filter((field) => !lockOf(model, field, isNew)).map((field) => {
      const text = (textOf(form, `v.${field.name}`) ?? "").replaceAll("\r\n", "\n"),
        given = textOf(form, `s.${field.name}`);
      return [field.name, { state: given === "null" || given === "absent" ? given : "value", text }] as const;
    }),
  );
}

/** The values, over those of the item that was seen. @throws FieldError for the first that can't be */
export function itemOf(model: Model, typed: Typed, seen: PlainItem | undefined): PlainItem {
  const item: Record<string, unknown> = { ...seen };
  for (const field of model.fields) {
    const one = typed.get(field.name);
    if (!one) continue;
    if (one.state === "absent") delete item[field.name];
    else if (one.state === "null") item[field.name] = null;
    // What is not touched is the very value that was read: of whatever form, with all its digits.
    else if (
      !seen || textOfValue(field, seen[field.name]) !== one.text || seen[field.name] === undefined ||
      seen[field.name] === null
    ) {
      item[field.name] = valueOf(field, one.text);
    }
    if (
      field.required && (item[field.name] === undefined || item[field.name] === null) && field.default === undefined &&
      !field.generate && !field.defaultNow
    ) {
      throw new FieldError(field.name, "is required");
    }
  }
  return item;
}

/** An item that a form carries as JSON. @throws ApiError */
export function jsonIn(form: FormData, name: string): PlainItem | undefined {
  const text = textOf(form, name);
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(400, "invalid", "The form can't be read.");
  }
}

/** All fields with their editors. */
export function Editors({ model, typed, isNew, item, wrong }: {
  model: Model;
  typed: Typed;
  isNew: boolean;
  item: PlainItem | undefined;
  wrong?: { readonly field: string; readonly message: string };
}) {
  return (
    <div class="editors">
      {model.fields.filter(({ hidden }) => !hidden).map((field) => {
        const lock = lockOf(model, field, isNew);
        if (lock && isNew) return null;
        if (lock) {
          return (
            <div class="editor locked">
              <span class="label">{field.name}</span>
              <span>
                <span class="mono">{textOfValue(field, item?.[field.name])}</span>{" "}
                <span class="muted">{`locked: ${lock}`}</span>
              </span>
            </div>
          );
        }
        return (
          <Editor
            {...{ field, isWrong: wrong?.field === field.name, message: wrong?.message }}
            now={typed.get(field.name) ?? { state: "absent", text: "" }}
          />
        );
      })}
    </div>
  );
}

function typeOf({ type, members, enum: choices }: Field): string {
  return choices
    ? "choice"
    : type === "set"
    ? `set of ${members ?? "string"}s, a JSON list`
    : type === "number"
    ? "number, 38 digits"
    : type === "date"
    ? "date, UTC"
    : type === "array" || type === "object"
    ? "JSON"
    : type === "binary"
    ? "binary, tagged JSON"
    : type;
}

function Editor({ field, now: { state, text }, isWrong, message }: {
  field: Field;
  now: { readonly state: string; readonly text: string };
  isWrong: boolean;
  message: string | undefined;
}) {
  const id = `v-${field.name}`, name = `v.${field.name}`;
  const common = {
    id,
    name,
    "aria-describedby": isWrong ? `${id}-wrong` : `${id}-type`,
    "aria-invalid": isWrong ? "true" : undefined,
  } as const;
  const isLong = ["array", "object", "set", "binary"].includes(field.type) || text.includes("\n");
  return (
    <div class="editor">
      <label class="label" for={id}>{field.name}</label>
      <div>
        <div class="with-state">
          {field.enum
            ? (
              <select {...common}>
                {text !== "" && !field.enum.map(String).includes(text)
                  ? <option value={text} selected>{text}</option>
                  : null}
                {field.enum.map((one) => (
                  <option value={String(one)} selected={String(one) === text}>{String(one)}</option>
                ))}
              </select>
            )
            : field.type === "boolean"
            ? (
              <select {...common}>
                {["true", "false"].map((one) => <option value={one} selected={one === text}>{one}</option>)}
              </select>
            )
            : isLong
            ? (
              <textarea
                {...common}
                class="mono"
                rows={Math.min(14, Math.max(3, text.split("\n").length))}
                spellcheck={false}
              >
                {text}
              </textarea>
            )
            : (
              <input
                {...common}
                class={field.type === "number" || field.type === "date" ? "mono" : undefined}
                value={text}
                inputmode={field.type === "number" ? "decimal" : undefined}
                placeholder={field.type === "date" ? "2026-03-01T12:00:00Z" : undefined}
                autocomplete="off"
                spellcheck={field.type === "string"}
              />
            )}
          {field.required
            ? null
            : (
              <select name={`s.${field.name}`} class="js-state" aria-label={`${field.name}: value, null or absent`}>
                {["value", "null", "absent"].map((one) => <option value={one} selected={one === state}>{one}</option>)}
              </select>
            )}
        </div>
        {isWrong ? <p class="state bad" id={`${id}-wrong`} role="alert">{message}</p> : null}
        <p class="muted small" id={`${id}-type`}>
          {typeOf(field)}
          {field.required ? ", required" : ""}
        </p>
      </div>
    </div>
  );
}
