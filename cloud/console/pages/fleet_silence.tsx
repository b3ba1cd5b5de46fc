/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/fleet/silence`: for how long an account's devices are usually away. A device that is silent for longer is worth a look;
 * one that sleeps until the evening is not.
 *
 * @module
 */
import { isId } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import { everyAccount, usualDefaultMs } from "../../sync/attention.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { duration } from "../format.ts";
import { FormToken, Problem } from "../parts.tsx";

const minuteMs = 60_000, hourMs = 60 * minuteMs, dayMs = 24 * hourMs;
const choicesMs = [
  5 * minuteMs,
  15 * minuteMs,
  hourMs,
  4 * hourMs,
  12 * hourMs,
  dayMs,
  2 * dayMs,
  7 * dayMs,
  30 * dayMs,
] as const;

interface Given {
  readonly account: string;
  readonly fault: string;
}

/** The thresholds, and the form. */
export async function silencePage({ fleet }: ConsoleOptions, c: PageContext, given?: Given): Promise<Page> {
  await fleet.attention?.refresh();
  const usual = [...fleet.attention?.usual ?? []].filter(([account]) => account !== everyAccount).sort();
  const allMs = fleet.attention?.usual.get(everyAccount) ?? usualDefaultMs;
  const { mayWrite, formToken } = c.get("session");
  return {
    title: "Usual silence",
    status: given ? 400 : 200,
    body: (
      <>
        <div class="head">
          <div>
            <h1>How long silence is usual</h1>
            <p class="muted">
              A device that is silent for longer is listed before the others, and counted in the Fleet's first line.
            </p>
          </div>
        </div>
        {given ? <Problem message={given.fault} /> : null}
        <div class="card">
          <div class="scroll" tabindex={0} role="region" aria-label="By account">
            <table class="silence">
              <thead>
                <tr>
                  <th scope="col">account</th>
                  <th scope="col">usual up to</th>
                  <th scope="col">
                    <span class="sr">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {usual.map(([account, ms]) => (
                  <tr>
                    <td class="mono">
                      <a href={`/fleet?q=account:${encodeURIComponent(account)}`}>{account}</a>
                    </td>
                    <td>{duration(ms)}</td>
                    <td class="num">
                      {mayWrite
                        ? (
                          <form method="post" action="/fleet/silence">
                            <FormToken token={formToken} />
                            <input type="hidden" name="account" value={account} />
                            <button class="btn quiet small" name="usual" value="as-all" type="submit">
                              As all others<span class="sr">{`: ${account}`}</span>
                            </button>
                          </form>
                        )
                        : null}
                    </td>
                  </tr>
                ))}
                <tr>
                  <td>{usual.length === 0 ? "All accounts" : "All others"}</td>
                  <td>{duration(allMs)}</td>
                  <td></td>
                </tr>
              </tbody>
            </table>
          </div>
        </div>
        {mayWrite ? <SilenceForm formToken={formToken} account={given?.account ?? ""} /> : null}
      </>
    ),
  };
}

function SilenceForm({ formToken, account }: { formToken: string; account: string }) {
  return (
    <form method="post" action="/fleet/silence" class="card pad form after">
      <FormToken token={formToken} />
      <p>
        <label for="silence-account">Account (empty: all others)</label>
        <input
          id="silence-account"
          class="mono"
          name="account"
          value={account}
          maxlength={128}
          autocomplete="off"
          spellcheck={false}
        />
      </p>
      <p>
        <label for="silence-usual">Usually away for up to</label>
        <select id="silence-usual" name="usual">
          {choicesMs.map((ms) => (
            <option value={String(ms)} selected={ms === usualDefaultMs}>
              {duration(ms)}
            </option>
          ))}
        </select>
      </p>
      <p class="acts">
        <button class="btn primary" type="submit">Save</button>
        <a class="btn" href="/fleet" data-back>To the fleet</a>
      </p>
    </form>
  );
}

/** Stores one. */
export async function setSilence(options: ConsoleOptions, c: PageContext, form: FormData): Promise<Page | Response> {
  const account = (textOf(form, "account") ?? "").trim(), usual = textOf(form, "usual");
  if (account !== "" && !isId(account)) {
    return await silencePage(options, c, { account, fault: `“${account}” is not an id of an account.` });
  }
  const ms = usual === "as-all" ? undefined : Number(usual);
  if (ms !== undefined && !choicesMs.some((one) => one === ms)) {
    throw new ApiError(400, "invalid", "That is no time to choose.");
  }
  await options.fleet.attention?.setUsual(account === "" ? everyAccount : account, ms);
  return c.redirect("/fleet/silence", 303);
}
