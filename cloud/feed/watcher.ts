/**
 * Turns the service's work into rows of the feed: a device's write, when it is acknowledged; a change from the stream,
 * when it is in its channel's log and published; devices' reports. Does nothing while nobody watches.
 *
 * A device's own write makes one row, at its acknowledgement; its later stream record is a stage. Other writers'
 * changes make rows from the stream.
 *
 * @module
 */
import type { Ack, Changes, Entry, Presence, Up } from "../../protocol.ts";
import { fieldOf, idIn, renderKey, toPlain } from "../../schema.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import type { Attributes } from "../../schema/values.ts";
import { noObserver, type Observer } from "../sync/observer.ts";
import type { Feed } from "./feed.ts";
import type { ChangeRow, FeedRow } from "./rows.ts";

/** Observes a service for a feed. */
export class FeedWatcher implements Observer {
  readonly request = noObserver.request;
  readonly answered = noObserver.answered;
  readonly passed = noObserver.passed;
  readonly stored = noObserver.stored;
  readonly #kept = new Map<string, string>();

  constructor(
    private readonly schema: Schema,
    private readonly feed: Feed,
    private readonly now: () => number,
  ) {}

  /** See {@link Observer.acknowledged}. */
  acknowledged(identity: Identity, up: Up, { answers }: Ack): void {
    if (!this.feed.wanted) return;
    const refused = new Set(answers.filter(({ code }) => code !== "ok").map(({ at }) => at));
    this.feed.tell(up.changes.flatMap((change, at): FeedRow[] => {
      const model = this.schema.models.get(change.model), attributes = change.item ?? change.key;
      const key = model && attributes && renderKey(model, attributes, identity);
      if (refused.has(at) || !key) return [];
      return [{
        type: "change",
        at: this.now(),
        model: change.model,
        key,
        op: change.op === "remove" ? "remove" : "put",
        by: identity.deviceId,
        stamp: change.stamp,
        ...(change.item && change.op !== "remove" ? { item: this.#plain(model, change.item, identity) } : {}),
      }];
    }));
  }

  /** See {@link Observer.published}. */
  published({ channel, seq, entries }: Changes): void {
    if (!this.feed.wanted || entries.length === 0) return;
    const at = this.now(),
      [kind, id] = [channel.slice(0, channel.indexOf(":")), channel.slice(channel.indexOf(":") + 1)];
    const identity = kind === "device" ? { deviceId: id } : kind === "account" ? { accountId: id } : {};
    const changes = entries.filter((entry) => !isOfDevice(entry)).map((entry) => this.#changeOf(entry, at, identity));
    this.feed.tell([
      ...changes.map((change): FeedRow => ({ ...change, channel, seq })),
      { type: "stage", at, stage: "logged", channel, seq, keys: entries.map(({ key }) => key) },
    ]);
  }

  #changeOf({ key, current }: Entry, at: number, identity: Partial<Identity>): ChangeRow {
    const model = current && this.schema.models.get(current.model);
    return {
      type: "change",
      at,
      ...(model ? { model: model.name, item: this.#plain(model, current.item, identity) } : {}),
      key,
      op: current ? "put" : "remove",
      by: "cloud",
    };
  }

  /** The item as the API returns it, from the attributes of a message, which leave out the identity. */
  #plain(model: Model, attributes: Attributes, identity: Partial<Identity>): Record<string, unknown> {
    const own = model.identityFields.flatMap((name) => {
      const id = idIn(model, identity, name);
      return id === undefined ? [] : [[fieldOf(model, name)?.attribute ?? name, id] as const];
    });
    return toPlain(this.schema, model, { ...attributes, ...Object.fromEntries(own) });
  }

  /** A device's presence, which every worker hears. */
  presence(device: string, { online, report, at: reached }: Presence): void {
    if (!this.feed.wanted) return;
    const at = this.now();
    if (reached) this.feed.tellHere({ type: "stage", at, stage: "device", device, reached });
    if (reached && !report) return;
    this.feed.tellHere({ type: "row", at, device, connected: online, ...(report ? { report } : {}) });
    if (!report) return;
    const { rejected = 0, conflicts = 0, aside = 0 } = report, text = `${rejected} ${conflicts} ${aside}`;
    const before = this.#kept.get(device);
    // The oldest devices are dropped: their next report then makes no row.
    if (this.#kept.size > 20_000) this.#kept.clear();
    this.#kept.set(device, text);
    if (before !== undefined && before !== text) {
      this.feed.tellHere({ type: "kept", at, device, rejected, conflicts, aside });
    }
  }
}

/** Written by a device: its row was made at the acknowledgement. */
function isOfDevice({ mark, current }: Entry): boolean {
  return mark !== undefined || current?.version !== undefined;
}
