/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Items as lines to paste: SQL for the device, `curl`, the AWS CLI and TypeScript for the cloud, plain JSON. One language
 * is shown at a time, by radio buttons and a style alone: it works without JavaScript.
 *
 * @module
 */
import { goesUp } from "../../../schema/direction.ts";
import type { Model } from "../../../schema/model.ts";
import type { ConsoleOptions, PageContext } from "../context.ts";
import { fileOf } from "../kept.ts";
import { awsLine, curlLine, sqliteLine, typescriptLine, upsertSql } from "../lines.ts";
import type { PlainItem } from "../local_device.ts";
import { Copy } from "../parts.tsx";

interface Line {
  readonly id: string;
  readonly name: string;
  readonly text: string;
  readonly note?: string;
}

/** Linux passes a program words of 128 KB (MAX_ARG_STRLEN). */
const wordBytesMax = 128 * 1024 - 1;
const encoder = new TextEncoder();

function isWord(text: string): boolean {
  return text.split("\n").every((line) => encoder.encode(line).length <= wordBytesMax);
}

/** The lines that write these items, of one model. */
export function linesOf(options: ConsoleOptions, c: PageContext, model: Model, items: readonly PlainItem[]): Line[] {
  const address = { url: new URL(c.req.url).origin, wantsToken: options.tokens !== undefined };
  const dynamo = options.dynamo ?? options.travels?.dynamo, bare = items.map((item) => bareItem(model, item));
  const json = items.map((item) => JSON.stringify(item)).join("\n");
  const lines: Line[] = [
    { id: "curl", name: "curl", text: curlLine(address, model.name, ...bare) },
    { id: "ts", name: "TypeScript", text: typescriptLine(address, model.name, ...bare) },
    {
      id: "aws",
      name: "AWS CLI",
      text: bare.map((item) => awsLine(dynamo ?? { table: "TABLE" }, options.items, model, item)).join("\n"),
      ...(dynamo ? {} : { note: "TABLE stands for the name of the DynamoDB table." }),
    },
    ...sqlOf(options, model, bare),
  ];
  const fitting = lines.filter(({ text }) => isWord(text));
  const note = fitting.length < lines.length
    ? "As a command it is too long: a shell takes 128 KB in one word."
    : undefined;
  return [...fitting, { id: "json", name: "JSON", text: json, ...(note ? { note } : {}) }];
}

/** A model that a device may write is written there by SQL: in its own file, without the ids that are its own. */
function sqlOf(options: ConsoleOptions, model: Model, items: readonly PlainItem[]): Line[] {
  if (!model.onDevice || !goesUp(model)) return [];
  const byFile = Map.groupBy(items, (item) => {
    const device = item[model.identityNames.deviceId];
    return typeof device === "string" ? fileOf(options, device) : "DEVICE.db";
  });
  const lines = [...byFile].map(([file, own]) => {
    try {
      return sqliteLine(file, own.map((item) => upsertSql(model, item)).join("; "));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      return `# ${error.message}`;
    }
  });
  return [{ id: "sql", name: "SQL", text: lines.join("\n"), note: "On the device, beside its agent." }];
}

/** Without what is derived or set by the writer. */
function bareItem(model: Model, item: PlainItem): PlainItem {
  const derived = new Set(
    model.fields.filter(({ template, timestamp }) => template || timestamp).map(({ name }) => name),
  );
  return Object.fromEntries(Object.entries(item).filter(([name]) => !derived.has(name)));
}

/** The section. */
export function PasteLines({ lines }: { readonly lines: readonly Line[] }) {
  return (
    <section class="card pad after paste" aria-labelledby="paste-title">
      <fieldset>
        <legend id="paste-title">Copy as</legend>
        {lines.map(({ id, name }, at) => (
          <label>
            <input type="radio" name="paste" value={id} checked={at === 0} autocomplete="off" />
            {name}
          </label>
        ))}
      </fieldset>
      {lines.map(({ id, name, text, note }) => (
        <div data-as={id}>
          <div class="line-copy">
            <pre id={`as-${id}`} tabindex={0} role="region" aria-label={`As ${name}`}>{text}</pre>
            <Copy from={`#as-${id}`} label={`Copy ${name}`} />
          </div>
          {note ? <p class="muted">{note}</p> : null}
        </div>
      ))}
    </section>
  );
}
