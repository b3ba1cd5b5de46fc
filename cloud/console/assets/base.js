// What each page does in the browser: keys, theme, times that count on, copying, the mark that says whether events arrive.
// Nothing here is needed to read or to change anything: links and forms do that.
"use strict";
{
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const on = (name, listener) => document.addEventListener(name, listener);
  document.documentElement.classList.add("scripted");

  // --- said to screen readers, at most each 5 s ---
  let saidAt = 0, saying;
  const say = (text) => {
    clearTimeout(saying);
    saying = setTimeout(() => {
      saidAt = performance.now();
      $("#said").textContent = text;
    }, Math.max(50, saidAt + 5000 - performance.now()));
  };

  // --- times count on; the rule is `ago` of format.ts ---
  const ago = (ms) => {
    const s = Math.floor(Math.max(0, ms) / 1000);
    if (s < 1) return "now";
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
  };
  const tick = () => {
    if (document.hidden) return;
    for (const time of $$("time[datetime]:not([data-fixed])")) {
      const at = new Date(time.dateTime), text = ago(Date.now() - at);
      if (time.textContent !== text) time.textContent = text;
      if (!time.dataset.local) time.title += time.dataset.local = `\n${at.toLocaleString()} here`;
    }
  };
  setInterval(tick, 1000);
  on("visibilitychange", tick);

  // --- theme: as the system, light, dark ---
  const themes = ["", "light", "dark"];
  on("submit", (event) => {
    if (!event.target.matches("form.theme")) return;
    event.preventDefault();
    const root = document.documentElement;
    const next = themes[(themes.indexOf(root.dataset.theme ?? "") + 1) % 3];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    document.cookie = `twintable_theme=${next}; path=/; samesite=lax; max-age=${next ? 31536000 : 0}`;
    document.dispatchEvent(new Event("tt:theme"));
    say(next ? `${next} theme` : "theme as the system");
  });

  // --- copying, and what is hidden ---
  on("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-show]");
    if (!button) return;
    if (button.dataset.show) {
      const input = document.getElementById(button.dataset.show), isShown = input.type === "text";
      input.type = isShown ? "password" : "text";
      button.setAttribute("aria-pressed", String(!isShown));
      return;
    }
    const from = $(button.dataset.copy);
    const text = button.dataset.copy === "url" ? location.href : from.value ?? from.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // No permission, or no TLS: the text is selected, and Ctrl+C is left to the person.
      if (from) getSelection().selectAllChildren(from);
      return say("Selected: copy it with Ctrl+C");
    }
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
    say("Copied");
  });

  // --- rows by keys ---
  const rows = () => $$("[data-rows] > [data-row]");
  const move = (by) => {
    const all = rows(), at = all.findIndex((row) => row.classList.contains("at"));
    const next = all[Math.min(all.length - 1, Math.max(0, at + by))];
    if (!next) return;
    all[at]?.classList.remove("at");
    next.classList.add("at");
    next.scrollIntoView({ block: "nearest" });
    ($("a[data-open]", next) ?? next).focus({ preventScroll: true });
  };
  on("focusin", (event) => {
    const row = event.target.closest("[data-rows] > [data-row]");
    if (!row || row.classList.contains("at")) return;
    for (const other of rows()) other.classList.toggle("at", other === row);
  });

  // --- keys: none while typing, and they can be turned off ---
  const isOff = () => localStorage.getItem("twintable.keys") === "off";
  const off = $("#keys-off");
  if (off) {
    off.checked = isOff();
    off.addEventListener("change", () => localStorage.setItem("twintable.keys", off.checked ? "off" : "on"));
  }
  const go = (where) => (document.location = where);
  let wentAt = -Infinity;
  const press = {
    "/": () => {
      const find = $(".find input");
      if (getComputedStyle(find).display === "none") return go("/console/find");
      find.focus();
      find.select();
    },
    "?": () => $("#help").showModal(),
    g: () => wentAt = performance.now(),
    j: () => move(1),
    k: () => move(-1),
    x: () => $(".at input[type=checkbox]")?.click(),
    e: () => $("[data-key-e]")?.click(),
    p: () => $("[data-key-p]")?.click(),
    Escape: () => $("[data-back]")?.click(),
  };
  on("keydown", (event) => {
    const { key, target } = event;
    const isTyping = target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
    if (key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const form = target.closest("form");
      if (form) event.preventDefault(), form.requestSubmit();
      return;
    }
    if (key === "Escape" && target.closest(".find")) return target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping || isOff() || $("dialog[open]")) return;
    if (performance.now() - wentAt < 1500) {
      wentAt = -Infinity;
      const link = $(`nav a[data-key="${CSS.escape(key)}"]`);
      if (link) event.preventDefault(), link.click();
      return;
    }
    if (key === "Enter" && target.matches("[data-row]")) return $("a[data-open]", target)?.click();
    if (!Object.hasOwn(press, key)) return;
    if (key !== "Escape") event.preventDefault();
    press[key]();
  });

  // --- whether events arrive ---
  const mark = $("#live");
  const shows = (state, word, title) => {
    if (!mark || mark.dataset.state === state && $(".word", mark).textContent === word) return;
    const was = mark.dataset.state;
    mark.dataset.state = state;
    $(".word", mark).textContent = word;
    mark.title = title;
    if (was !== state && was !== "starts") say(word);
  };
  let lostAt, counting;
  const lost = () => {
    lostAt ??= performance.now();
    const show = () => {
      const seconds = Math.round((performance.now() - lostAt) / 1000);
      shows("lost", `Reconnecting ${seconds} s`, "No events arrive; what is shown may be old");
    };
    show();
    counting ??= setInterval(show, 1000);
  };
  const found = () => {
    clearInterval(counting);
    counting = lostAt = undefined;
    shows("live", "Live", "Events arrive");
  };
  on("tt:hello", found);
  // A tab that was opened behind others holds no stream, either: a browser has six connections for all of them.
  on("tt:hello", () => document.hidden && document.dispatchEvent(new Event("visibilitychange")));
  on("tt:bye", () => go(`/login?next=${encodeURIComponent(location.pathname + location.search)}`));
  // Events were missed: what is shown is asked for again.
  on("tt:gap", () => document.body.dispatchEvent(new Event("tt:again", { bubbles: true })));
  on("htmx:sse:error", (event) => event.detail.status === 403 ? go(location.href) : lost());
  on("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0 && !document.hidden) lost();
  });
  if (document.body.dataset.polls) {
    setInterval(() => {
      if (!document.hidden) document.body.dispatchEvent(new Event("tt:again", { bubbles: true }));
    }, 1000 * document.body.dataset.polls);
  }

  // --- waiting: old content is dimmed after 150 ms (by its class), and after 10 s something is said ---
  const waiting = new Map();
  on("htmx:before:request", (event) => {
    const target = event.detail.ctx?.target;
    // What renews itself in the background does not flicker.
    if (!target || target === document.body || target === event.detail.ctx.sourceElement) return;
    target.setAttribute("aria-busy", "true");
    waiting.set(target, setTimeout(() => toast("No answer for 10 s: the table may be slow.", true), 10_000));
  });
  const done = (event) => {
    const target = event.detail.ctx?.target;
    // It is there after all.
    if (waiting.has(target) && !$("#toast-retry").hidden) $("#toast").hidden = true;
    clearTimeout(waiting.get(target));
    waiting.delete(target);
    target?.removeAttribute?.("aria-busy");
  };
  on("htmx:after:request", done);
  on("htmx:error", done);

  // --- what is refused is said, and the page stays as it is, with what was typed ---
  const toast = (text, retries = false) => {
    $("#toast-text").textContent = text;
    $("#toast-retry").hidden = !retries;
    $("#toast").hidden = false;
  };
  on("click", ({ target }) => {
    if (target.closest?.("#toast button")) $("#toast").hidden = true;
  });
  on("htmx:before:swap", (event) => {
    const { ctx } = event.detail, status = ctx.response?.status ?? 200;
    if (status < 400) return;
    const page = new DOMParser().parseFromString(ctx.text ?? "", "text/html");
    // A page that has the part asked for says by itself what is wrong.
    if (ctx.select && $(ctx.select, page)) return;
    event.preventDefault();
    toast($("[role=alert] .state", page)?.textContent ?? `This failed (${status}).`);
  });
  on("htmx:error", (event) => {
    if (event.detail.ctx?.target && !event.detail.connection) {
      toast("The worker can't be reached; nothing was changed here.");
    }
  });

  // --- the focus stays through swaps: on the same thing where it is there again, else on what stands around it ---
  let focused;
  const likeness = (one) => {
    const isChoice = ["checkbox", "radio"].includes(one.type);
    const names = [one.tagName, one.id, one.getAttribute("href"), one.getAttribute("name"), isChoice ? one.value : ""];
    return JSON.stringify([
      ...names,
      one.matches("input, select, textarea") ? "" : one.textContent.trim().slice(0, 80),
    ]);
  };
  on("htmx:before:swap", () => {
    const one = document.activeElement;
    if (!one || one === document.body || !$("#main").contains(one)) return void (focused = undefined);
    const around = [];
    for (let at = one.parentElement; at && at.id !== "main"; at = at.parentElement) at.id && around.push(at.id);
    focused = { tag: one.tagName, is: likeness(one), around };
  });
  on("htmx:after:swap", () => {
    if (!focused || (document.activeElement && document.activeElement !== document.body)) return;
    const same = $$(`#main ${focused.tag}`).find((one) => likeness(one) === focused.is);
    const place = same ?? [...focused.around, "main"].map((id) => document.getElementById(id)).find((one) => one);
    if (!same && !place.hasAttribute("tabindex")) place.tabIndex = -1;
    place.focus({ preventScroll: true });
  });

  // --- signed out in one tab is signed out in all ---
  const channel = new BroadcastChannel("twintable");
  on("submit", (event) => event.target.matches("form.logout") && channel.postMessage("out"));
  channel.onmessage = () => setTimeout(() => location.reload(), 300);

  globalThis.twintable = { $, $$, on, say, ago, toast };
}
