/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * An item's editors, one for each field by its type, and the values that they send. For an optional value, null and
 * absent are separate choices; an empty text is a text.
 *
 * @module
 */
import type { Field, Model } from "../../../schema/model.ts";
import { ApiError } from "../../api/errors.ts";
import { textOf } from "../forms.ts";
import type { PlainItem } from "../local_device.ts";
import { FieldError, textOfValue, valueOf } from "../typed.ts";

/** Why a person may not change a field; undefined: they may. */
export function lockOf(model: Model, field: Field, isNew: boolean): string | undefined {
  if (field.template) return "computed from other values";
  if (field.timestamp) return "set automatically";
  if (!field.synced) return "stays on devices";
  const isKey = model.identityFields.includes(field.name) || model.keyFields.includes(field.name);
  return isKey && !isNew ? "part of the key; a new key makes a new item" : undefined;
}

/** A form's content for each field: its state and its text, preserved after a refusal. */
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
    // An untouched value is exactly the value that was read, in its form, with all its digits.
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
  // Whoever edits types at once: in the first field that can be changed, or in the one that was refused.
  const first = wrong?.field ?? model.fields.find((field) => !field.hidden && !lockOf(model, field, isNew))?.name;
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
            {...{ field, isWrong: wrong?.field === field.name, message: wrong?.message, isFirst: first === field.name }}
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

function Editor({ field, now: { state, text }, isWrong, message, isFirst }: {
  field: Field;
  now: { readonly state: string; readonly text: string };
  isWrong: boolean;
  message: string | undefined;
  isFirst: boolean;
}) {
  const id = `v-${field.name}`;
  const common = {
    id,
    name: `v.${field.name}`,
    "aria-describedby": isWrong ? `${id}-wrong` : `${id}-type`,
    "aria-invalid": isWrong ? "true" : undefined,
    autofocus: isFirst,
  } as const;
  return (
    <div class="editor">
      <label class="label" for={id}>{field.name}</label>
      <div>
        <div class="with-state">
          <Control {...{ field, text, common }} />
          {field.required
            ? null
            : (
              <select name={`s.${field.name}`} class="js-state" aria-label={`${field.name}: value, null or absent`}>
                <Options of={["value", "null", "absent"]} chosen={state} />
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

function Options({ of, chosen }: { of: readonly string[]; chosen: string }) {
  return <>{of.map((one) => <option value={one} selected={one === chosen}>{one}</option>)}</>;
}

/** What a value of the field's type is typed into. */
function Control({ field, text, common }: {
  field: Field;
  text: string;
  common: Readonly<Record<string, string | boolean | undefined>>;
}) {
  if (field.enum) {
    const known = field.enum.map(String), other = text !== "" && !known.includes(text) ? [text] : [];
    return (
      <select {...common}>
        <Options of={[...other, ...known]} chosen={text} />
      </select>
    );
  }
  if (field.type === "boolean") {
    return (
      <select {...common}>
        <Options of={["true", "false"]} chosen={text} />
      </select>
    );
  }
  if (["array", "object", "set", "binary"].includes(field.type) || text.includes("\n")) {
    const rows = Math.min(14, Math.max(3, text.split("\n").length));
    return <textarea {...common} class="mono" rows={rows} spellcheck={false}>{text}</textarea>;
  }
  return (
    <input
      {...common}
      class={field.type === "number" || field.type === "date" ? "mono" : undefined}
      value={text}
      inputmode={field.type === "number" ? "decimal" : undefined}
      placeholder={field.type === "date" ? "2026-03-01T12:00:00Z" : undefined}
      autocomplete="off"
      spellcheck={field.type === "string"}
    />
  );
}
