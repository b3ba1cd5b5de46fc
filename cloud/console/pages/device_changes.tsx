/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * A device's last changes, 50 at a time: what the log of each of its channels says, the newest first. The log has keys and not
 * values: those that went by are shown (`item_versions.ts`), others are not, and nothing is made up. Models that only go up are in
 * no log.
 *
 * @module
 */
import type { Channel, Key } from "../../../protocol.ts";
import { keyText } from "../../../protocol/keys.ts";
import { modelOf, toPlain } from "../../../schema.ts";
import type { Model } from "../../../schema/model.ts";
import { changesOf, type ChannelChange, type ChannelChanges } from "../../api/trace.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { ConsoleOptions, PageContext } from "../context.ts";
import { count } from "../format.ts";
import { Chip, Cloud } from "../icons.tsx";
import type { PlainItem } from "../local_device.ts";
import { Empty, Problem, Time } from "../parts.tsx";
import { itemHref } from "./data_query.ts";
import { faultOf } from "./error.tsx";
import { deviceHref } from "./fleet_columns.tsx";
import { What } from "./item_history.tsx";
import { telemetryOf } from "./live_query.ts";

/** Changes of a page. */
const changesMax = 50;

interface TabProps {
  readonly options: ConsoleOptions;
  readonly c: PageContext;
  readonly device: DeviceStanding;
  readonly now: number;
}

/** What an item is now: it says whose model a key is. */
interface Present {
  readonly model: Model;
  readonly item: PlainItem;
}

/** The channels that a device reads. */
export function channelsOf({ deviceId, accountId }: DeviceStanding): [Channel, Channel, Channel] {
  return [`device:${deviceId}`, `account:${accountId}`, "global"];
}

function tabHref(deviceId: string, query: Readonly<Record<string, string>>): string {
  return deviceHref(deviceId, `?${new URLSearchParams({ tab: "changes", ...query })}`);
}

export async function ChangesTab({ options, c, device, now }: TabProps) {
  const channels = channelsOf(device), asked = c.req.query("channel"), back = c.req.query("back");
  const channel = channels.find((one) => one === asked) ?? channels[0];
  const found = await changesOf(options.items, channel, { most: changesMax, after: back }).catch((error) => {
    // A token of another table, or from before a change of the log: the rest of the page stays.
    const fault = faultOf(error);
    if (fault.status >= 500) throw error;
    return fault;
  });
  return (
    <section class="card" aria-labelledby="changes-title" data-channel={channel}>
      <div class="changes-head">
        <h2 id="changes-title">Last changes</h2>
        <nav class="channels" aria-label="Channel">
          {channels.map((one) => (
            <a
              class="btn small mono"
              href={tabHref(device.deviceId, one === channels[0] ? {} : { channel: one })}
              aria-current={one === channel ? "true" : undefined}
            >
              {one}
            </a>
          ))}
        </nav>
      </div>
      {"changes" in found
        ? (
          <Part
            {...{ options, device, channel, found, now, isFirst: back === undefined }}
            present={await presentOf(options, found)}
          />
        )
        : (
          <div class="pad">
            <Problem message={found.message} code={found.code} retry={tabHref(device.deviceId, {})} />
          </div>
        )}
    </section>
  );
}

/** The items of the changes as they are now, by key. */
async function presentOf(
  { items }: ConsoleOptions,
  { changes }: ChannelChanges,
): Promise<ReadonlyMap<string, Present>> {
  const keys = new Map<string, Key>(changes.map(({ key }) => [keyText(key), key]));
  const read = await items.data.get([...keys.values()]);
  return new Map(
    [...keys.keys()].flatMap((text, at): [string, Present][] => {
      const item = read[at], model = item && modelOf(items.schema, item);
      return item && model ? [[text, { model, item: toPlain(items.schema, model, item) }]] : [];
    }),
  );
}

interface PartProps {
  readonly options: ConsoleOptions;
  readonly device: DeviceStanding;
  readonly channel: Channel;
  readonly found: ChannelChanges;
  readonly present: ReadonlyMap<string, Present>;
  readonly now: number;
  readonly isFirst: boolean;
}

function Part({ options, device: { deviceId }, channel, found, present, now, isFirst }: PartProps) {
  const { changes, entries, read, next } = found;
  const more: Record<string, string> = channel === `device:${deviceId}` ? {} : { channel };
  const known = changes.map((change) => options.versions?.of(change.key, channel, change));
  /** The version before, where it is known. */
  const olderOf = (at: number) => {
    const text = keyText(changes[at]!.key), before = changes.findIndex(({ key }, i) => i > at && keyText(key) === text);
    return before < 0 ? undefined : known[before];
  };
  return (
    <>
      {changes.length === 0
        ? (
          <Empty title={isFirst ? "No changes in the last 7 days" : "No older changes"}>
            <p>What is written to this channel, by a device or in the cloud, appears here.</p>
          </Empty>
        )
        : (
          <ol class="history changes" aria-label={`Changes of ${channel}, the newest first`} data-rows>
            {changes.map((change, at) => (
              <Line
                {...{ options, change, now }}
                present={present.get(keyText(change.key))}
                item={known[at]}
                older={olderOf(at)}
              />
            ))}
          </ol>
        )}
      <div class="foot">
        <span>
          {`Read ${count(entries, "entry", "entries")} of the log, ${count(read, "unit")} (RCU), and ${
            count(present.size, "item")
          }.${next === undefined ? " The log has no older ones: it keeps 7 days." : ""}`}
          <LeftOut {...{ options, deviceId }} />
        </span>
        <span class="right">
          {isFirst ? null : <a class="btn small" href={tabHref(deviceId, more)}>From the newest</a>}
          {next === undefined
            ? null
            : <a class="btn small" rel="next" href={tabHref(deviceId, { ...more, back: next })}>Older</a>}
        </span>
      </div>
    </>
  );
}

/** What is in no log, and where it is seen instead. */
function LeftOut({ options, deviceId }: { options: ConsoleOptions; deviceId: string }) {
  const models = telemetryOf(options.schema);
  if (models.length === 0) return null;
  return (
    <>
      {` Only in the table: `}
      {models.map((name, at) => (
        <>
          {at > 0 ? ", " : ""}
          <a href={`/data/${encodeURIComponent(name)}?${new URLSearchParams({ device: deviceId })}`}>{name}</a>
        </>
      ))}
      .
    </>
  );
}

interface LineProps {
  readonly options: ConsoleOptions;
  readonly change: ChannelChange;
  readonly present: Present | undefined;
  readonly item: PlainItem | undefined;
  readonly older: PlainItem | undefined;
  readonly now: number;
}

function Line({ options, change, present, item, older, now }: LineProps) {
  const { key, seq, at, by, removed } = change, isDevice = by !== undefined && by !== "cloud";
  const model = present?.model ?? (change.model === undefined ? undefined : options.schema.models.get(change.model));
  const [hash, sort] = key, name = `${model && !present ? `${model.name} ` : ""}${sort || hash}`;
  return (
    <li data-row tabindex={-1}>
      <span class="muted">
        <Time at={Date.parse(at)} now={now} />
      </span>
      <span class="mono muted">{seq}</span>
      <span class={isDevice ? "up by" : by === undefined ? "by" : "down by"}>
        {isDevice ? <Chip /> : by === undefined ? null : <Cloud />}
        {`${removed && !item ? "removed" : "written"} by ${by ?? "the cloud or a device"}`}
      </span>
      <span class="which">
        {present
          ? (
            <a data-open href={itemHref(present.model, present.item)}>
              {`${present.model.name} `}
              <span class="mono">{keyWords(present)}</span>
            </a>
          )
          : <span class="mono">{name}</span>}
      </span>
      <span class="what">
        {item && model
          ? <What {...{ model, item, older }} />
          : removed
          ? null
          : <span class="nothing">values not kept</span>}
        {present || removed ? null : <span class="muted">not there now</span>}
      </span>
    </li>
  );
}

/** The key without the ids that the page is about. */
function keyWords({ model, item }: Present): string {
  const words = model.keyFields.map((name) => String(item[name] ?? ""));
  return words.length > 0
    ? words.join(" · ")
    : model.identityFields.map((name) => String(item[name] ?? "")).join(" · ");
}
