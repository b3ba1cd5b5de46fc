/**
 * From the service's work to the feed's rows: what a device wrote, when it is acknowledged; what the stream brought, when it is
 * in its channel's log and published; what devices say of themselves. Does nothing while nobody watches.
 *
 * A device's own write is told once, at its acknowledgement; what the stream says of it later is a stage. A change of anybody
 * else is told from the stream.
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

  /** Attributes of a message, which leave out whose they are, as the API gives the item. */
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
    // Of a fleet that watches nobody for long the oldest are forgotten: then the next report is no news.
    if (this.#kept.size > 20_000) this.#kept.clear();
    this.#kept.set(device, text);
    if (before !== undefined && before !== text) {
      this.feed.tellHere({ type: "kept", at, device, rejected, conflicts, aside });
    }
  }
}

/** Written by a device, which was told when it was acknowledged. */
function isOfDevice({ mark, current }: Entry): boolean {
  return mark !== undefined || current?.version !== undefined;
}
