// Data: a row lights when its item changes; an edit in progress is told of it, and left alone.
"use strict";
{
  const { $, $$, on, say } = globalThis.twintable;
  let asking;
  const lit = new Set();
  on("tt:change", (event) => {
    const { key, model } = JSON.parse(event.detail.data);
    const text = JSON.stringify(key), editing = $("[data-editing]");
    if (editing) {
      if (editing.dataset.editing !== text) return;
      $("#changed-meanwhile").hidden = false;
      return say("It was changed meanwhile");
    }
    const list = $("#data"), item = $("#item");
    if (item && item.dataset.key !== text) return;
    if (list && model !== undefined && list.dataset.model !== model) return;
    lit.add(text);
    asking ??= setTimeout(() => {
      asking = undefined;
      (list ?? item)?.dispatchEvent(new Event("tt:refresh"));
    }, 150);
  });
  // --- how far the changes got that happened since the page was opened: saved, logged, on the device ---
  const changes = new Map(), changesMax = 500;
  /** By channel, what a device said last: it may be heard before the change itself. */
  const reached = new Map();
  const farOf = (change) => {
    const { at, channel, seq } = change, last = reached.get(channel);
    if (!change.on && seq !== undefined && last?.seq >= seq) {
      change.on = `on ${last.device} ✓ ${Math.max(0, last.at - at)} ms`;
    }
    return change.on ?? (seq === undefined ? "saved" : "logged");
  };
  const tell = () => {
    for (const [text, change] of changes) {
      const cell = $(`[data-row][data-key="${CSS.escape(text)}"] [data-far]`), far = farOf(change);
      if (cell && cell.textContent !== far) cell.textContent = far;
    }
  };
  if ($("#data")) {
    on("tt:change", (event) => {
      const { key, at, channel, seq } = JSON.parse(event.detail.data), text = JSON.stringify(key);
      changes.delete(text);
      changes.set(text, { at, channel, seq });
      if (changes.size > changesMax) changes.delete(changes.keys().next().value);
      tell();
    });
    on("tt:stage", (event) => {
      const stage = JSON.parse(event.detail.data);
      for (const key of stage.keys ?? []) {
        const change = changes.get(JSON.stringify(key));
        if (change) Object.assign(change, { channel: stage.channel, seq: stage.seq });
      }
      for (const [channel, seq] of Object.entries(stage.reached ?? {})) {
        reached.set(channel, { seq, device: stage.device, at: stage.at });
      }
      tell();
    });
    on("htmx:after:swap", tell);
  }
  on("htmx:after:swap", () => {
    for (const text of lit) {
      const row = $(`[data-row][data-key="${CSS.escape(text)}"]`) ??
        ($("#item")?.dataset.key === text ? $("#item") : undefined);
      row?.classList.add("lit");
      setTimeout(() => row?.classList.remove("lit"), 2000);
    }
    lit.clear();
  });
  // Another index has other fields: they are there at once.
  on("change", ({ target }) => target.matches("[data-submits]") && target.form.requestSubmit());

  // What is selected is counted, and stays selected when the list is renewed.
  const chosen = new Set();
  const boxes = () => $$("form[data-selects] input[name=item]");
  const count = () => {
    const all = boxes(), some = all.filter(({ checked }) => checked), bar = $("form[data-selects] [data-bulk]");
    if (!bar) return;
    chosen.clear();
    for (const box of all) {
      box.closest("tr").classList.toggle("sel", box.checked);
      if (box.checked) chosen.add(box.value);
    }
    bar.hidden = some.length === 0;
    $("[data-selected]", bar).textContent = `${some.length} selected`;
    const every = $("form[data-selects] [data-all]");
    every.checked = some.length > 0 && some.length === all.length;
    every.indeterminate = some.length > 0 && some.length < all.length;
  };
  on("change", ({ target }) => {
    if (!target.closest("form[data-selects]")) return;
    if (target.matches("[data-all]")) { for (const box of boxes()) box.checked = target.checked; }
    count();
  });
  on("htmx:after:swap", () => {
    for (const box of boxes()) box.checked = chosen.has(box.value);
    count();
  });
  count();
  // Back: the browser checks boxes again after this.
  addEventListener("pageshow", count);

  // The version that is looked at stays, whatever happens meanwhile.
  on("input", ({ target }) => target.closest?.(".travel")?.setAttribute("hx-morph-skip", ""));

  // A choice of null or absent takes the editor away; typing brings the value back.
  const follow = (select) => {
    const editor = $("[name^='v.']", select.closest(".with-state"));
    editor.classList.toggle("off", select.value !== "value");
  };
  for (const select of $$(".js-state")) follow(select);
  on("change", ({ target }) => target.matches(".js-state") && follow(target));
  on("input", ({ target }) => {
    const state = target.name?.startsWith("v.") && $(".js-state", target.closest(".with-state"));
    if (!state || state.value === "value") return;
    state.value = "value";
    follow(state);
  });
}
