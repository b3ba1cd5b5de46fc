// The Live page: changes as they come, the newest first. Rows never move under the pointer: they gather, and are shown when they
// are asked for. Paused, they are counted, to a bound.
"use strict";
{
  const { $, on, say } = globalThis.twintable;
  const table = $("#changes"), body = $("tbody", table);
  const wanted = Object.fromEntries(
    ["models", "by", "ops", "hidden"].map((name) => [name, JSON.parse(table.dataset[name])]),
  );
  const keys = JSON.parse(table.dataset.keys);
  const rowsMax = 500, heldMax = 5000;
  /** What was shown, for the export; newest last. */
  const shown = [];
  let held = [], lost = 0, paused = false, seen = 0, put = 0;
  const byEntry = new Map();

  const fits = (row) =>
    (wanted.models.length === 0 || wanted.models.includes(row.model)) &&
    (wanted.by.length === 0 || wanted.by.includes(row.by)) &&
    (wanted.ops.length === 0 || wanted.ops.includes(row.op)) && !wanted.hidden.includes(row.model);

  const cell = (text, name = "") => {
    const td = document.createElement("td");
    td.className = name;
    td.textContent = text;
    return td;
  };
  const clock = (at) => new Date(at).toISOString().slice(11, 23);
  const brief = (value) => {
    const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
    return text.length > 40 ? `${text.slice(0, 39)}…` : text;
  };
  /** Beside an item that went by before, what changed of it; else what it says. */
  const what = ({ op, item, model, before }) => {
    if (op === "remove") return "removed";
    if (!item) return "written";
    const skipped = /^(created|updated|deviceId|accountId)$/;
    const same = (name) => JSON.stringify(item[name]) === JSON.stringify(before[name]);
    const names = Object.keys({ ...before, ...item }).filter((name) =>
      !skipped.test(name) && (before ? !same(name) : !keys[model]?.includes(name))
    );
    if (before && names.length === 0) return "the same values again";
    const told = (name) => {
      const now = name in item ? brief(item[name]) : "absent";
      return before ? `${name} ${name in before ? brief(before[name]) : "absent"} → ${now}` : `${name} ${now}`;
    };
    return names.slice(0, 4).map(told).join(", ") + (names.length > 4 ? ` +${names.length - 4}` : "");
  };
  /** The items that went by last. */
  const items = new Map(), itemsMax = 2000;
  const remember = (row) => {
    const text = row.key.join("\n");
    row.before = items.get(text);
    items.delete(text);
    if (row.op === "put" && row.item) items.set(text, row.item);
    if (items.size > itemsMax) items.delete(items.keys().next().value);
  };
  const farOf = ({ channel, seq, on }) => on ?? (seq === undefined ? "saved" : `logged ${channel}/${seq}`);
  const got = (row, how) => {
    Object.assign(row, how);
    // One that is not shown yet shows it then.
    if (row.far) row.far.textContent = farOf(row);
  };
  const rowOf = (row) => {
    const tr = document.createElement("tr");
    tr.dataset.row = "";
    tr.tabIndex = -1;
    if (row.type === "gap") {
      const td = cell(row.n === null ? "Some changes are missing here" : `${row.n} more, too many to list`, "gap");
      td.colSpan = 5;
      tr.append(td);
      return tr;
    }
    const by = cell("", "by"), who = document.createElement(row.by === "cloud" ? "span" : "a");
    who.className = row.by === "cloud" ? "from down" : "from up";
    who.textContent = row.by;
    if (row.by !== "cloud") who.href = `/devices/${encodeURIComponent(row.by)}`;
    by.append(who);
    const item = cell("", "item"), link = document.createElement("a");
    link.dataset.open = "";
    const key = row.item && keys[row.model] &&
      Object.fromEntries(keys[row.model].map((name) => [name, row.item[name]]));
    const words = key ? Object.values(key).reverse().join(" · ") : row.key[1] || row.key[0];
    link.textContent = `${row.model ?? ""} ${words}`.trim();
    if (key) link.href = `/data/${encodeURIComponent(row.model)}/item?key=${encodeURIComponent(JSON.stringify(key))}`;
    item.append(key ? link : document.createTextNode(link.textContent));
    const far = cell(farOf(row), "far");
    tr.append(cell(clock(row.at), "muted nowrap"), by, item, cell(what(row), "what"), far);
    row.far = far;
    return tr;
  };
  const show = (rows) => {
    if (rows.length === 0) return;
    put += rows.length;
    shown.push(...rows);
    const fresh = document.createDocumentFragment();
    for (const row of rows.slice(-rowsMax).reverse()) fresh.append(rowOf(row));
    body.prepend(fresh);
    while (body.children.length > rowsMax) body.lastElementChild.remove();
    for (const old of shown.splice(0, Math.max(0, shown.length - rowsMax))) {
      const text = old.key?.join("\n");
      if (text && byEntry.get(text) === old) byEntry.delete(text);
    }
    $("#quiet").hidden = true;
  };
  const button = $("#fresh");
  const hold = (row) => {
    held.push(row);
    if (held.length > heldMax) held.shift(), lost++;
    button.hidden = false;
    const count = held.length + lost;
    button.textContent = paused ? `Paused: ${count} new` : `${count} new, show`;
  };
  const release = () => {
    const rows = held;
    if (lost > 0) rows.unshift({ type: "gap", n: lost });
    held = [];
    lost = 0;
    button.hidden = true;
    show(rows);
  };
  const scroller = table.closest(".scroll");
  const isRead = () => scroller.matches(":hover") || scroller.contains(document.activeElement);
  let waiting = [];
  const flush = () => {
    const rows = waiting;
    waiting = [];
    if (paused || (isRead() && body.children.length > 0)) rows.forEach(hold);
    else show(rows);
  };
  const take = (row) => {
    if (waiting.push(row) === 1) requestAnimationFrame(flush);
    if (document.hidden && waiting.length > heldMax) waiting.shift();
  };

  on("tt:change", (event) => {
    const row = JSON.parse(event.detail.data);
    seen++;
    if (!fits(row)) return;
    byEntry.set(row.key.join("\n"), row);
    remember(row);
    arrive(row);
    take(row);
  });
  /** By channel, the last that a device said: it may be heard before the change itself, which is gathered with others. */
  const reached = new Map();
  const arrive = (row) => {
    const last = reached.get(row.channel);
    if (row.on || row.seq === undefined || !last || last.seq < row.seq) return;
    got(row, { on: `on ${last.device} ✓ ${Math.max(0, last.at - row.at)} ms` });
  };
  on("tt:stage", (event) => {
    const stage = JSON.parse(event.detail.data);
    if (stage.stage === "logged") {
      for (const key of stage.keys) {
        const row = byEntry.get(key.join("\n"));
        if (!row) continue;
        got(row, { channel: stage.channel, seq: stage.seq });
        arrive(row);
      }
      return;
    }
    for (const [channel, seq] of Object.entries(stage.reached)) {
      reached.set(channel, { seq, device: stage.device, at: stage.at });
    }
    for (const row of byEntry.values()) arrive(row);
  });
  on("tt:gap", (event) => {
    const { n = null } = JSON.parse(event.detail?.data ?? "{}");
    take({ type: "gap", n });
  });

  button.addEventListener("click", () => {
    if (paused) return toggle();
    release();
  });
  const pause = $("#pause");
  const toggle = () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    if (!paused) release();
    say(paused ? "Paused" : "Going on");
  };
  pause.addEventListener("click", toggle);
  $("#export").addEventListener("click", () => {
    const lines = shown.map(({ far: _far, on: _on, before: _before, ...row }) => `${JSON.stringify(row)}\n`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
    link.download = "changes.jsonl";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  setInterval(() => {
    const share = seen > 0 && put < seen ? `, showing ${put} of ${seen}` : "";
    $("#rate").textContent = `${seen}/s${share}`;
    seen = put = 0;
  }, 1000);
}
