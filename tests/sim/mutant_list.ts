/**
 * Planted bugs: each turns off one rule of the sync protocol, or one ordering, by a textual change of the production code.
 * The simulation must find every one (`mutants.ts`). Those that break something else stand in files of their own, by topic,
 * and name the test that must fail.
 *
 * @module
 */

import { guarded, type Mutant, one } from "./mutant.ts";
import { absence } from "./mutants_absence.ts";
import { acts } from "./mutants_acts.ts";
import { devicefile } from "./mutants_devicefile.ts";
import { journal } from "./mutants_journal.ts";
import { identity } from "./mutants_identity.ts";
import { nets } from "./mutants_nets.ts";
import { field } from "./mutants_field.ts";
import { outside } from "./mutants_outside.ts";
import { shipped } from "./mutants_shipped.ts";
import { security } from "./mutants_security.ts";
import { values } from "./mutants_values.ts";
import { restore } from "./mutants_restore.ts";
import { skew } from "./mutants_skew.ts";
import { signals } from "./mutants_signals.ts";
import { shown } from "./mutants_console.ts";
import { fuzzed } from "./mutants_fuzz.ts";
import { storms } from "./mutants_storm.ts";
import { usurped } from "./mutants_usurped.ts";

const uplink = "agent/sync/uplink.ts", answers = "agent/sync/answers.ts", incoming = "agent/sync/incoming.ts";
const downlink = "agent/sync/downlink.ts", outbox = "agent/sync/outbox.ts", twin = "agent/twin.ts";
const condition = "cloud/sync/ingest_condition.ts", ingest = "cloud/sync/ingest.ts", fanOut = "cloud/sync/fan_out.ts";
const log = "cloud/sync/channel_log.ts", catchUp = "cloud/sync/catch_up.ts", passing = "cloud/sync/passing.ts";

/** All planted bugs: first the simulation's, in the order of the rules. */
export const mutants: readonly Mutant[] = [
  // ---- identity (rules §1)
  one(
    "fixed incarnation",
    "§1: a restored or cloned database issues the same numbers again",
    "clone power clone2 powershared",
    "agent/new_context.ts",
    `while (text.length < 12) text += Math.floor(random() * 36).toString(36);`,
    `while (text.length < 12) text += "0";`,
  ),
  one(
    "duplicate by stamp alone",
    "§1: a duplicate is an equal source and stamp",
    "powershared clone2 any dups",
    ingest,
    `if (sameVersion(there, version)) return undefined;`,
    `if (there?.[1] === version[1]) return undefined;`,
  ),
  one(
    "two in flight",
    "§1: one change per key in flight",
    "dups any long",
    uplink,
    `if (!this.#mayGo(kind) || this.context.inFlight.has(candidate.text)) continue;`,
    `if (!this.#mayGo(kind)) continue;`,
  ),
  {
    name: "batch not stored",
    breaks: "§1: the batch is durable before it is sent, its outbox entries stay until the answer is",
    families: ["disk", "alone", "any"],
    patches: [
      {
        file: uplink,
        find: `if (flights.length === 0) return undefined;`,
        replace:
          `if (flights.length === 0) return undefined;\n      outbox.forget(joined(flights.map((f) => f.entries)));`,
      },
      {
        file: "agent/sync/flight.ts",
        find:
          `this.store.db.sql("INSERT INTO _inflight(batch, serial, payload) VALUES (?, ?, ?)").run(id, serial, payload);`,
        replace: ``,
      },
    ],
  },
  one(
    "stamp not stored",
    "§2: the stamp is persisted with the change",
    "alone disk",
    "agent/sync/flight.ts",
    `const stamps: Version[] = [...prior, [source, change.stamp]];
    return [{ model, key, text: keyText(key), keyAttributes, change, base, entries, upto, stamps, tried, offer }];`,
    `const again = { ...change, stamp: change.stamp + 1 };
    const stamps: Version[] = [...prior, [source, again.stamp]];
    return [{ model, key, text: keyText(key), keyAttributes, change: again, base, entries, upto, stamps }];`,
  ),
  one(
    "resend with the old time",
    "§1: `sent` is the time of this transmission",
    "any dups stale",
    uplink,
    `sent: clock.nowMs(),
      changes:`,
    `sent: sending.flights[0]!.change.stamp / 1000,
      changes:`,
  ),
  // ---- stamps and clocks (rules §2)
  one(
    "recorded time",
    "§2: the stamp is the corrected time",
    "fair",
    "agent/sync/clock.ts",
    `let corrected = recordedMs + (this.#offsetMs ?? 0);`,
    `let corrected = recordedMs;`,
  ),
  one(
    "jumps forgotten",
    "§2: corrected by later jumps",
    "fair clock clock2",
    "agent/sync/clock.ts",
    `corrected += this.#jumps[s] ?? 0;`,
    `corrected += 0;`,
  ),
  one(
    "time taken for known",
    "§2: nothing is sent before the offset is known",
    "fair alone",
    "agent/sync/clock.ts",
    `return this.#offsetMs !== undefined;`,
    `return true;`,
  ),
  one(
    "stamp below the base",
    "§2: above the base's stamp",
    "alone fair",
    uplink,
    `stamp = Math.max(stamp, base + 1);`,
    `stamp = Math.max(stamp, 0);`,
  ),
  one(
    "stamp below the removed",
    "§2: above the removed version's stamp",
    "late alone clock",
    uplink,
    `stamp = Math.max(stamp, record.gone + 1);`,
    `stamp = Math.max(stamp, 0);`,
  ),
  one(
    "far future believed",
    "§2: an `updated` later than now+60 s is ignored",
    "future",
    condition,
    `const later = all(greater(field.attribute, stampMs), atMost(field.attribute, form(now + aheadMaxMs)));`,
    `const later = greater(field.attribute, stampMs);`,
  ),
  // ---- ingest (rules §3)
  one(
    "late transmissions processed",
    "§3: not processed 30 s after it was sent",
    "late alone clock",
    ingest,
    `export const transmissionAgeMaxMs = 30_000;`,
    `export const transmissionAgeMaxMs = 30_000_000;`,
  ),
  one(
    "removal not held",
    "§3: a removal waits until no older create can be processed",
    "late alone clock",
    uplink,
    `if (clock.monotonicMs() < candidate.holdUntilMs) return "hold";`,
    ``,
  ),
  guarded(
    "sends forgotten at a start",
    "§3: also one that was sent before this start",
    "tests/agent/sync/recent_sends_test.ts#after a start",
    "agent/sync/recent_sends.ts",
    `if (known === undefined && this.lastSendMs > 0) {`,
    `if (known === undefined && this.lastSendMs < 0) {`,
  ),
  one(
    "first transmission taken for the last",
    "found by the simulation: a start let a removal go while a copy of a later transmission was under way",
    "late",
    uplink,
    `if (noted !== undefined && Math.abs(now - Number(noted)) < lastSendSlackMs) return;`,
    `if (noted !== undefined && [...this.context.inFlight.batches.values()].some((b) => b.attempts > 0)) return;`,
  ),
  one(
    "update of a gone item",
    "§3: removal wins over an update",
    "any zombies dups",
    condition,
    `if (change.op === "update" && model.sync !== "up") return present ?? all(absent, exists);`,
    ``,
  ),
  one(
    "blind to unstamped items",
    "§3: an item without a version is replaced only by what was made from it",
    "clock2 any zombies",
    condition,
    `const unversioned = anyOf(same, earlier);`,
    `const unversioned = exists;`,
  ),
  one(
    "older over newer",
    "§3: W: `_stamp` < s",
    "any powershared clock2",
    condition,
    `return anyOf(timely ? all(older, timely) : older, unversioned && all(unstamped, unversioned));`,
    `return anyOf(timely ? all(stamped, timely) : stamped, unversioned && all(unstamped, unversioned));`,
  ),
  one(
    "`updated` not looked at",
    "§3: T",
    "fair",
    condition,
    `return anyOf(timely ? all(older, timely) : older, unversioned && all(unstamped, unversioned));`,
    `return anyOf(older, unversioned && all(unstamped, unversioned));`,
  ),
  one(
    "base by version alone",
    "§3: SAME compares each attribute",
    "cloudpol devpol mergepol",
    condition,
    `return all(...version, ...contentOf(model, base, narrow));`,
    `return all(...version, ...contentOf(model, base, narrow).slice(0, 0));`,
  ),
  one(
    "up: shared as own",
    "§3: in a shared scope an up model's older stamp is refused",
    "up",
    condition,
    `if (model.scope !== "device") return anyOf(older, unstampedAndSame);`,
    ``,
  ),
  one(
    "overwritten unseen",
    "§3: an old item that was not the base goes back as `over`",
    "still",
    ingest,
    `return over ? { at, code: "ok", over } : undefined;`,
    `return undefined;`,
  ),
  one(
    "foreign identity taken",
    "I4: identity comes from the topic",
    "any refuse up",
    ingest,
    `if (foreign) return invalid(foreign, key);`,
    ``,
  ),
  // ---- answers (rules §4)
  one(
    "conflict not kept",
    "§4: the loser is kept in `_conflicts`",
    "zombies any cloudpol",
    answers,
    `keep(change.op, change.item, current ? "stale" : "gone");`,
    ``,
  ),
  one(
    "pending does not yield",
    "§4: under `cloud`, and to an item without a version, all that is pending yields",
    "cloudpol clock2 zombies long",
    answers,
    `if (newer && all) {`,
    `if (newer && all && change.op === "remove") {`,
  ),
  guarded(
    "pending raised above the newer",
    "found by the simulation: a second, older write took a newer version's place, made from it as it seemed",
    "tests/agent/sync/rules_test.ts#judged by its own time",
    answers,
    `record.version = undefined;
    if (comesDown(model)) records.mark(record);`,
    `record.version = current?.version;
    if (comesDown(model)) records.mark(record);`,
  ),
  one(
    "merge takes all of mine",
    "§4: merge: what the device did not change is the cloud's",
    "mergepol",
    answers,
    `const value = changed ? m : t;`,
    `const value = m ?? t;`,
  ),
  one(
    "rejected row stays",
    "§4: `invalid`: row := current",
    "refuse",
    answers,
    `if (isTracked(model) || isAsSent) place(context, record, current, flight.keyAttributes);`,
    ``,
  ),
  one(
    "removed while refused",
    "found by the simulation: a refused change put the table's item back though its row had been removed meanwhile",
    "refuse",
    answers,
    `: !row && !change.item;`,
    `: !row;`,
  ),
  one(
    "newer on a base it never saw",
    "found by the simulation: what was made after a refused change got the table's item for its base, and overwrote it",
    "refuse",
    answers,
    `if (isTracked(model) && outbox.pending(model, key)) return;`,
    `if (isTracked(model) && outbox.pending(model, key)) {
    record.base = current?.item;
    record.version = current?.version;
    return;
  }`,
  ),
  one(
    "unknown attributes dropped",
    "§4: attributes that a schema does not know are carried, kept and sent back",
    "any cloudpol zombies",
    "agent/store/row_values.ts",
    `Object.entries(base).filter(([attribute]) => !this.#known.has(attribute))`,
    `[] as [string, Json][]`,
  ),
  // ---- the channel log (rules §5)
  one(
    "raw writes taken for the device's own",
    "§5: a write that leaves the version as it was is not the device's",
    "any zombies down",
    fanOut,
    `device !== undefined && !sameVersion(before, version)`,
    `device !== undefined`,
  ),
  guarded(
    "append without a condition",
    "§5: put at last+1 where nothing is",
    "tests/cloud/sync/channel_log_test.ts#numbers are contiguous",
    log,
    `const [result] = await this.#table.write([{ op: "put", item, condition: absent }], { deadline });
    if (result?.outcome === "written") return true;`,
    `const [result] = await this.#table.write([{ op: "put", item }]);
    if (result?.outcome === "written") return true;`,
  ),
  one(
    "checkpoint before fan-out",
    "§5: append, read, publish, then checkpoint",
    "zombies reread",
    "cloud/sync/stream_window.ts",
    `const passed = (await Promise.all(channels)).every((one) => one);`,
    `await batch.checkpoint();
    const passed = (await Promise.all(channels)).every((one) => one);`,
  ),
  one(
    "read before append",
    "§5: append first, then read the items",
    "zombies down reread",
    fanOut,
    `for (const part of splitKeys(keys)) appended.push({ ...await context.log.append(channel, part), keys: part });`,
    `const early = await buildEntries(context, channel, identity, keys);
    for (const part of splitKeys(keys)) appended.push({ ...await context.log.append(channel, part), keys: part });
    if (appended.length === 1) {
      const { epoch, seq } = appended[0]!;
      return [{ type: "changes", channel, epoch, seq, entries: early.entries, time: context.now() }];
    }`,
  ),
  one(
    "no floor",
    "§5: an emptied log goes on after where it was",
    "snap snapgsi down",
    log,
    `return opening ? floor.atLeast - 1 : Math.max(floor.atLeast, lastSeq);`,
    `return opening ? floor.atLeast - 1 : lastSeq;`,
  ),
  one(
    "gaps read over",
    "§5: a page is the contiguous run",
    "snap down",
    log,
    `if (seqOf(item) !== seq + entries.length + 1) return entries;`,
    ``,
  ),
  one(
    "any epoch",
    "§5: a cursor of another epoch means nothing",
    "logloss",
    catchUp,
    `const page = cursor.epoch === epoch && cursor.seq !== undefined`,
    `const page = cursor.seq !== undefined`,
  ),
  guarded(
    "lost history ignored",
    "§5: where the stream lost history, all channels begin a new epoch",
    "tests/cloud/sync/service_test.ts#lost history begins",
    passing,
    `if ("lost" in batch) await window.settled().then(() => this.#historyIsLost(signal));`,
    `if ("lost" in batch) continue;`,
  ),
  one(
    "head after the listing",
    "§6: a snapshot's head is taken first",
    "snap down zombies",
    catchUp,
    `const part = await snapshotPart(schema, data, channel, identity, limits);
  return { type: "snapshot", request, channel, epoch: state.epoch, head,`,
    `const part = await snapshotPart(schema, data, channel, identity, limits);
  const late = await context.log.state(channel);
  return { type: "snapshot", request, channel, epoch: state.epoch, head: Math.max(head, late.head),`,
  ),
  {
    name: "index trusted",
    breaks: "§6: head minus 60 s where a secondary index is read, and one look more",
    families: ["snapgsi", "hidden"],
    patches: [
      {
        file: catchUp,
        find:
          `return lags(schema, sourcesOf(schema, channel, identity)) ? await log.headBefore(channel, head, indexLagMaxMs) : head;`,
        replace: `return head;`,
      },
      {
        file: downlink,
        find: `if (page.lags) planListCheck(this.context, channel);`,
        replace: ``,
      },
    ],
  },
  guarded(
    "head before its entry",
    "found by the simulation: a floor that was raised for an entry not yet put was taken for the head of a snapshot",
    "tests/cloud/sync/catch_up_test.ts",
    catchUp,
    `if (opening) return head - 1;`,
    ``,
  ),
  one(
    "any channel answered",
    "I4: a device is answered for its own channels",
    "any down snap",
    catchUp,
    `sync.channels.filter(({ channel }) => own.has(channel))`,
    `sync.channels.filter(({ channel }) => own.size > 0 && channel !== "account:B")`,
  ),
  one(
    "any key fetched",
    "I4: a device gets items of its own channels",
    "any down snap",
    catchUp,
    `const isOwn = channel !== undefined && own.has(channel);`,
    `const isOwn = channel !== undefined;`,
  ),
  // ---- the device's side of it (rules §6)
  one(
    "unsettled keys not marked",
    "§6: what comes for a key with local changes is fetched later",
    "any zombies cloudpol",
    incoming,
    `if (flight) flight.echoed = false;
      records.mark(record);`,
    `if (flight) flight.echoed = false;`,
  ),
  one(
    "unsettled keys overwritten",
    "§6: a key with local changes is left alone",
    "any zombies cloudpol",
    incoming,
    `const unsettled = !quiet && (`,
    `const unsettled = quiet && (`,
  ),
  one(
    "any mark is the echo",
    "§6: a mark of another version: recheck",
    "power powershared clone",
    incoming,
    `if (!equal || record.base === undefined) records.mark(record);`,
    `if (record.base === undefined) records.mark(record);`,
  ),
  one(
    "echo rule inverted",
    "§6: a mark of the own version is the echo, one of another is to be looked at",
    "power powershared clone",
    incoming,
    `if (!equal || record.base === undefined) records.mark(record);`,
    `if (equal || record.base === undefined) records.mark(record);`,
  ),
  one(
    "another key's entries",
    "found by the simulation: a row whose key had changed had entries in flight under the old one, and stayed as it was",
    "clone2 any dups",
    outbox,
    `AND row = ? AND kind <> \${outboxKinds.gone} AND seq > ?\`;`,
    `AND row = ? AND kind <> \${outboxKinds.gone} AND seq + 0 * ? > 0\`;`,
  ),
  one(
    "a removal of the row's former key",
    "found by the simulation: an entry of the key that a row had before was taken for one of its present key",
    "zombies any long",
    outbox,
    `AND row = ? AND kind <> \${outboxKinds.gone} AND seq > ?\`;`,
    `AND row = ? AND seq > ?\`;`,
  ),
  one(
    "unread insert",
    "found by the simulation: a row was sent before its insert was read, which then said that nothing was ever sent",
    "up long late",
    uplink,
    `if (row && candidate.removed && !isTracked(model) && outbox.hasUnread(model)) return "hold";`,
    ``,
  ),
  // No seed shows it any more: since removals wait for copies of what was sent (3.3), their own entries are read meanwhile, but
  // for what was sent long ago and waits for room in the window.
  guarded(
    "unread removal",
    "found by the simulation: a removal was sent before its own entry was read, and so without a key",
    "tests/agent/sync/rules_test.ts#whose own entry is not read",
    uplink,
    `if (!record.base && !candidate.removedKey && outbox.hasUnread(model)) return "hold";`,
    ``,
  ),
  one(
    "old time for a new row",
    "found by the simulation: a change that had waited was sent with the row as it was now and the time as it was then",
    "fair",
    outbox,
    `if (isTracked(candidate.model) && this.hasUnread(candidate.model)) this.#retime(candidate);`,
    ``,
  ),
  one(
    "sent before its time",
    "found by the simulation: above a base from the near future, sent and refused without end",
    "future dups mergepol",
    uplink,
    `if (earlyMs > 0) {`,
    `if (earlyMs > Infinity) {`,
  ),
  one(
    "number left out",
    "found by the simulation: an appender that died between floor and entry left a gap, a snapshot, and a revived item",
    "zombies reread",
    log,
    `return opening ? floor.atLeast - 1 : Math.max(floor.atLeast, lastSeq);`,
    `return opening && !floor ? floor.atLeast - 1 : Math.max(floor.atLeast, lastSeq);`,
  ),
  one(
    "mark of a revived item",
    "§6: found by the simulation: the own version, removed and back in the same entry, stayed",
    "dups late",
    incoming,
    `if (entry.was && stamp <= entry.was[1]) this`,
    `if (entry.was && stamp < entry.was[1]) this`,
  ),
  one(
    "page older than the answer",
    "§6: a page that was asked for before the answer may not know of it",
    "any dups zombies long snap",
    incoming,
    `if (outdated) record.awaiting = true;`,
    ``,
  ),
  one(
    "fetch older than the mark",
    "§6: the answer is void if the key was marked since",
    "zombies any long",
    "agent/sync/fetches.ts",
    `if (!record || record.recheck !== request.serials.get(text)) continue;`,
    `if (!record || record.recheck === undefined) continue;`,
  ),
  one(
    "removed again unnoticed",
    "§6: an in-flight stamp equal to `was` is settled",
    "zombies any dups",
    incoming,
    `if (flight && entry.was) this.#cameAndWent(flight, record, entry.was);`,
    ``,
  ),
  one(
    "held entries skipped",
    "§6: rows and cursor move together",
    "zombies down any",
    downlink,
    `this.#apply(run.flatMap((m) => this.#telling(m)), ()`,
    `this.#apply(this.#telling(first), ()`,
  ),
  {
    name: "cursor before rows",
    breaks: "§6: rows and cursor in one transaction",
    guard: "tests/agent/sync/downlink_test.ts",
    filter: "messages of one moment share a transaction",
    patches: [
      {
        file: twin,
        find: `this.context.store.tx(() => {
        for (const message of messages) this.#handle(message);`,
        replace: `[messages].forEach((messages) => {
        for (const message of messages) this.#handle(message);`,
      },
      {
        file: downlink,
        find:
          `this.#apply(run.flatMap((m) => this.#telling(m)), () => this.#cursors.set(channel, { ...cursor, seq: last }));`,
        replace: `this.context.store.tx(() => this.#cursors.set(channel, { ...cursor, seq: last }));
    this.#apply(run.flatMap((m) => this.#telling(m)), () => {});`,
      },
    ],
  },
  one(
    "sent before caught up",
    "§6: two-way models wait for the catch-up",
    "any snap dups power powershared",
    uplink,
    `return upOnly || this.caughtUp;`,
    `return true;`,
  ),
  one(
    "snapshot removes nothing",
    "§6: what a snapshot does not show is looked at",
    "snap logloss down",
    "agent/sync/snapshot.ts",
    `for (const key of unseenKeys(context, model, channel)) mark(model, key);`,
    ``,
  ),
  // ---- the agent's own machinery
  one(
    "no coalescing",
    "§4: only an item's last state is sent; each entry of its own is one more change of the key",
    "any long alone",
    outbox,
    `const text = keyText(key);
    const known = this.waiting.get(text);`,
    `const text = keyText(key) + seq;
    const known = this.waiting.get(text);`,
  ),
  guarded(
    "jump forgotten by a fault",
    "found by the simulation: a jump that a full disk kept from being written was not seen again, and stamps were hours off",
    "tests/agent/sync/clock_test.ts#could not be recorded",
    "agent/sync/clock.ts",
    `    const jumped = Math.abs(delta) >= jumpMinMs, next = this.#segment + 1;`,
    `    [this.#lastWallMs, this.#lastMonotonicMs] = [wall, monotonic];
    const jumped = Math.abs(delta) >= jumpMinMs, next = this.#segment + 1;`,
  ),
  one(
    "claim outlives its entry",
    "found by the simulation: a sequence number that was given again stayed claimed, and its change was never sent",
    "disk alone power any",
    outbox,
    `if (this.#claimed.size > 0) this.#unclaim([[from, to]]);`,
    ``,
  ),
  one(
    "unchanged items sent",
    "found by the simulation: a row number that was given again sent an item that nobody had changed, with an old time",
    "snap throttle any",
    uplink,
    `if (op === "update" && isTracked(model) && !offer && store.rows(model).equals(row!, record.base!)) {`,
    `if (op === "update" && false) {`,
  ),
  one(
    "stamps by the measured time alone",
    "found by the simulation: of two quick changes the second seemed older, and was a conflict",
    "alone",
    uplink,
    `stamp = Math.max(stamp, sent + 1);`,
    `stamp = Math.max(stamp, 0);`,
  ),
  one(
    "memory kept after a fault",
    "after a rolled-back transaction memory is read again",
    "disk",
    twin,
    `this.#restartOutbox();
    this.downlink.restart();`,
    `this.downlink.restart();`,
  ),
  one(
    "scanned past the end",
    "an emptied outbox gives its numbers again",
    "any disk alone",
    outbox,
    `this.#scanned = Math.min(this.#scanned, head);`,
    ``,
  ),
  guarded(
    "a put whenever it comes",
    "found by the simulation: an entry's put that stalled until others' entries were gone by age gave a number twice",
    "tests/cloud/sync/channel_log_test.ts",
    log,
    `condition: absent }], { deadline });`,
    `condition: absent }]);`,
  ),
  ...absence,
  ...outside,
  ...shipped,
  ...devicefile,
  ...field,
  ...identity,
  ...security,
  ...values,
  ...skew,
  ...restore,
  ...storms,
  ...usurped,
  ...fuzzed,
  ...nets,
  ...shown,
  ...signals,
  ...acts,
  ...journal,
];
