/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/fleet/add`: a new device, and its token, which is shown once, to whoever may admin: a token lets its holder act as the
 * device.
 *
 * @module
 */
import { isId, SyncError } from "../../../schema.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { Copy, FormToken, Problem } from "../parts.tsx";
import { deviceHref } from "./fleet_columns.tsx";

interface Given {
  readonly deviceId: string;
  readonly accountId: string;
  readonly fault?: string;
}

/** The form. */
export function addDevicePage(c: PageContext, given: Given = { deviceId: "", accountId: "" }): Page {
  const { deviceId, accountId, fault } = given;
  return {
    title: "Add device",
    status: fault ? 400 : 200,
    body: (
      <>
        <div class="head">
          <div>
            <h1>Add device</h1>
            <p class="muted">The registry keeps a hash of the token; the token itself is shown once.</p>
          </div>
        </div>
        {fault ? <Problem message={fault} /> : null}
        {c.get("session").isAdmin
          ? (
            <form method="post" action="/fleet/add" class="card pad form">
              <FormToken token={c.get("session").formToken} />
              <Field name="device" label="Device id" value={deviceId} />
              <Field name="account" label="Account id" value={accountId} />
              <p class="muted">An id has 1 to 128 of these characters: A–Z a–z 0–9 _ . : -</p>
              <p class="acts">
                <button class="btn primary" type="submit">Add</button>
                <a class="btn" href="/fleet" data-back>Cancel</a>
              </p>
            </form>
          )
          : <Problem message="Your token may not add devices: this needs a token of scope admin." />}
      </>
    ),
  };
}

function Field({ name, label, value }: { name: string; label: string; value: string }) {
  return (
    <p>
      <label for={`new-${name}`}>{label}</label>
      <input
        id={`new-${name}`}
        class="mono"
        name={name}
        value={value}
        required
        maxlength={128}
        autocomplete="off"
        spellcheck={false}
      />
    </p>
  );
}

/** Adds it. */
export async function addDevice({ registry }: ConsoleOptions, c: PageContext, form: FormData): Promise<Page> {
  const deviceId = (textOf(form, "device") ?? "").trim(), accountId = (textOf(form, "account") ?? "").trim();
  for (const id of [deviceId, accountId]) {
    if (!isId(id)) return addDevicePage(c, { deviceId, accountId, fault: `“${id}” is not an id.` });
  }
  try {
    const token = await registry.add(deviceId, accountId);
    return tokenPage(deviceId, token, "was added");
  } catch (error) {
    if (!(error instanceof SyncError) || error.retryable) throw error;
    return addDevicePage(c, { deviceId, accountId, fault: error.message });
  }
}

/** A token, once. */
export function tokenPage(deviceId: string, token: string, what: string): Page {
  return {
    title: `Token of ${deviceId}`,
    body: (
      <>
        <div class="head">
          <div>
            <h1>{`${deviceId} ${what}`}</h1>
            <p class="muted">This is its token. It is not stored and can't be shown again.</p>
          </div>
        </div>
        <div class="card pad form">
          <div class="line-copy">
            <code id="token">{token}</code>
            <Copy from="#token" label="Copy token" />
          </div>
          <p class="muted">On the device:</p>
          <div class="line-copy">
            <pre id="agent-line">{`twintable agent --device ${deviceId} --password-file token.txt --db device.db --schema schema.json5 --mqtt mqtts://BROKER:8883`}</pre>
            <Copy from="#agent-line" />
          </div>
          <p class="acts">
            <a class="btn primary" href={deviceHref(deviceId)}>To the device</a>
            <a class="btn" href="/fleet/add">Add another</a>
          </p>
        </div>
      </>
    ),
  };
}
