/**
 * Planted bugs in what the cloud and devices tell of themselves: the API's writes, orders, the feed, acknowledgements. Each names
 * the test that must fail.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

/** The planted bugs, by room. */
export const signals: readonly Mutant[] = [
  // ---- writes of the API
  guarded(
    "If-Match only read",
    "a conditional write is refused where the item changes between its reading and its writing",
    "tests/cloud/api/write_test.ts#whatever is written between",
    "cloud/api/write.ts",
    `unchanged(model, seen, Infinity)`,
    `exists`,
  ),
  guarded(
    "hidden properties lost by an edit",
    "what a reader can't see stays as it is stored",
    "tests/cloud/api/write_test.ts#what a reader can't see",
    "schema/plain.ts",
    `return field.hidden ? stored : undefined;`,
    `return undefined;`,
  ),
  // ---- acknowledgements and the feed
  guarded(
    "told before it is committed",
    "a device says that it has an entry when its rows are committed, not before",
    "tests/agent/sync/tells_test.ts#when its rows are committed",
    "agent/twin.ts",
    `if (message.tell) this.#tells.ask(message.channel, message.seq);`,
    `if (message.tell) { this.#tells.ask(message.channel, message.seq); this.#tells.answer(); }`,
  ),
  guarded(
    "a question takes an entry's place",
    "the question alone has no number: no entry is skipped by it",
    "tests/agent/sync/tells_test.ts#when its rows are committed",
    "agent/twin.ts",
    `if (message.seq === 0 && !message.tell)`,
    `if (message.seq === 0)`,
  ),
  guarded(
    "told as often as asked",
    "a device says where it is once a second at most",
    "tests/agent/sync/tells_test.ts#at most once a second",
    "agent/sync/tells.ts",
    `|| now < this.#toldMs + everyMs) return;`,
    `) return;`,
  ),
  guarded(
    "feed without a rate",
    "a worker tells so many rows a second, and counts the rest",
    "tests/cloud/feed/feed_test.ts#at most so many rows a second",
    "cloud/feed/feed.ts",
    `if (this.#budget.take(this.#now()))`,
    `if (true)`,
  ),
  guarded(
    "feed told to nobody",
    "nothing is told while nobody watches",
    "tests/cloud/feed/feed_test.ts#nothing is told while nobody watches",
    "cloud/feed/feed.ts",
    `    if (!this.wanted) return;
    for (const row of rows) {`,
    `    for (const row of rows) {`,
  ),
  guarded(
    "an unwatched time is no gap",
    "what happened while nobody watched is told as a gap",
    "tests/cloud/feed/feed_test.ts#is a gap",
    "cloud/feed/feed.ts",
    `this.#listensSince = ++this.#last;`,
    `this.#listensSince = 0;`,
  ),
  // ---- orders
  guarded(
    "an order done each time it comes",
    "an order is carried out once, however often it comes",
    "tests/agent/upkeep/orders_test.ts#one that comes again",
    "agent/upkeep/orders.ts",
    `if (known && known.state !== "running") {`,
    `if (false) {`,
  ),
  guarded(
    "orders forgotten by a crash",
    "an order that a crash left half done goes on at the next start",
    "tests/agent/upkeep/orders_test.ts#left half done",
    "agent/upkeep/orders.ts",
    `SELECT content FROM _sync_orders WHERE state = 'running'`,
    `SELECT content FROM _sync_orders WHERE state = 'begun'`,
  ),
  guarded(
    "an order ends at its first portion",
    "an order for all of a table does all of it",
    "tests/agent/upkeep/orders_test.ts#in portions",
    "agent/upkeep/orders.ts",
    `if (order.id === undefined && list.length === portion) this.#progress(running, told);
    else this.#end(`,
    `this.#end(`,
  ),
  guarded(
    "orders to agents that can't read them",
    "an older agent is sent no order",
    "tests/e2e/orders_test.ts#an older agent",
    "cloud/sync/orders.ts",
    `if (info?.connected === true && info.report?.orders === 1) await`,
    `if (info?.connected === true) await`,
  ),
  guarded(
    "orders on anybody's topic",
    "an order is taken from the device's own topic alone",
    "tests/agent/link_test.ts#an order on another topic",
    "agent/link.ts",
    `if (message.type === "order" && topic !==`,
    `if (false && topic !==`,
  ),
  guarded(
    "nobody looks for orders when a device comes",
    "an order that waits is sent when its device connects",
    "tests/e2e/orders_test.ts#carries them out when it comes",
    "cloud/sync/service.ts",
    `if (await this.registry.touch(deviceId, online, report)) await this.orders.deliver(deviceId);`,
    `await this.registry.touch(deviceId, online, report);`,
  ),
  // ---- samples
  guarded(
    "no sample is nothing done",
    "a minute that nobody sampled is a gap, never 0",
    "tests/cloud/operations/samples_test.ts#is a gap, and no 0",
    "cloud/operations/samples.ts",
    `if (!bucket || bucket.size === 0) return null;`,
    `if (!bucket || bucket.size === 0) return 0;`,
  ),
];
