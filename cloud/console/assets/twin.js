// The Twin page: it is asked for again when something happened, a cell that is typed in is left alone, and the lines to paste
// follow what is typed.
"use strict";
{
  const { $, $$, on } = globalThis.twintable;

  // --- again, at most each 120 ms, and not while a cell is being typed in on the row itself ---
  let asking;
  const again = () =>
    asking ??= setTimeout(() => {
      asking = undefined;
      $("#twin")?.dispatchEvent(new Event("tt:refresh"));
    }, 120);
  on("tt:twin", (event) => {
    again();
    count(JSON.parse(event.detail.data).travelled);
  });

  // --- what travelled, paused: the rest of the page goes on, and what comes is counted ---
  let travelled = 0;
  const log = () => $("#log"), isPaused = () => log()?.hasAttribute("hx-morph-skip");
  const count = (now) => {
    travelled = Math.max(travelled, now ?? 0);
    const missed = $("#missed"), more = travelled - Number(log()?.dataset.travelled ?? 0);
    if (missed) missed.textContent = isPaused() && more > 0 ? `${more} more since` : "";
  };
  on("click", ({ target }) => {
    const button = target.closest?.("#pause");
    if (!button) return;
    const pauses = log().toggleAttribute("hx-morph-skip");
    button.setAttribute("aria-pressed", String(pauses));
    button.textContent = pauses ? "Go on" : "Pause";
    count();
    if (!pauses) again();
  });
  // What was lit fades, "now" becomes "4 s": also when nothing happens.
  setInterval(() => {
    if (!document.hidden && $("tr.lit, .packet, .chip.warn")) again();
  }, 2000);

  const isDirty = (cell) => cell.matches(".cell") && cell.value !== cell.dataset.was;
  /** What is typed in stays: the cell's form is left out when the page is renewed. */
  const hold = (cell, isHeld) => {
    const form = cell.closest("form");
    if (isHeld) form.setAttribute("hx-morph-skip", "");
    else form.removeAttribute("hx-morph-skip");
    form.toggleAttribute("data-dirty", isHeld && isDirty(cell));
  };
  on("focusin", ({ target }) => {
    if (!target.matches(".cell")) return;
    hold(target, true);
    lines(target);
  });
  on("focusout", ({ target }) => {
    if (!target.matches(".cell")) return;
    // Left without Enter: not saved, and as it was.
    target.value = target.dataset.was;
    hold(target, false);
    again();
  });
  on("input", ({ target }) => target.matches(".cell") && (hold(target, true), lines(target)));
  on("change", ({ target }) => {
    if (target.matches("select.cell") && isDirty(target)) target.form.requestSubmit();
  });
  on("keydown", (event) => {
    const { target, key } = event;
    if (!target.matches?.(".cell")) return;
    if (key === "Escape") {
      target.value = target.dataset.was;
      target.blur();
    }
    if (key === "Enter" && !isDirty(target)) event.preventDefault(), target.blur();
  });
  on("htmx:before:request", ({ target }) => {
    const cell = target.matches?.("form[data-edit]") && $(".cell", target);
    if (!cell) return;
    cell.dataset.was = cell.value;
    hold(cell, false);
  });

  // A new item that was taken: its form is empty and closed again. What is refused keeps what was typed.
  on("htmx:after:request", ({ target, detail }) => {
    const details = target.closest?.("details.add");
    if (!details || !(detail.ctx?.response?.status < 400)) return;
    target.reset();
    details.open = false;
  });

  // --- the lines to paste ---
  let lining;
  const lines = (cell) => {
    clearTimeout(lining);
    lining = setTimeout(async () => {
      const query = new URLSearchParams(new FormData(cell.form));
      query.delete("_form");
      query.set("side", cell.closest(".side").classList.contains("c") ? "cloud" : "device");
      const response = await fetch(`/twin/lines?${query}`).catch(() => undefined);
      if (!response?.ok) return;
      const made = await response.json();
      for (const [name, text] of Object.entries(made)) {
        const line = $(`[data-line="${name}"]`);
        if (line) line.textContent = text;
      }
      Object.assign(held, made);
    }, 60);
  };
  const held = {};
  let lang = "curl";
  const show = () => {
    for (const button of $$("[data-lang]")) button.setAttribute("aria-pressed", String(button.dataset.lang === lang));
    for (const name of ["curl", "aws", "ts"]) {
      const line = $(`[data-line="${name}"]`), note = $(`[data-note="${name}"]`);
      if (line) line.hidden = name !== lang;
      if (note) note.hidden = name !== lang;
    }
    const copy = $(".side.c [data-copy]");
    if (copy) copy.dataset.copy = `#${lang}-line`;
    // What was typed last stays in the lines when the page is renewed.
    for (const [name, text] of Object.entries(held)) {
      const line = $(`[data-line="${name}"]`);
      if (line && line.textContent !== text) line.textContent = text;
    }
  };
  on("click", ({ target }) => {
    const button = target.closest?.("[data-lang]");
    if (!button) return;
    lang = button.dataset.lang;
    show();
  });
  on("htmx:after:swap", show);
}
