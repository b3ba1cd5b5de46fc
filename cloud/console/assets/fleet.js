// The fleet's rows tick where they stand, and the bar of actions says how many are selected.
"use strict";
{
  const { $, $$, on } = globalThis.twintable;

  const told = new Set(), moved = new Set();
  let asking;
  on("tt:row", (event) => {
    told.add(JSON.parse(event.detail.data).id);
    asking ??= setTimeout(() => ask(), 400);
  });
  // The page's stream tells of the rows that it opened with: those that a search brought are asked for with the rest.
  const streamed = new Set($$("tr[data-device]").map(({ dataset }) => dataset.device));
  on("tt:fleet", () => {
    const others = $$("tr[data-device]").map(({ dataset }) => dataset.device).filter((id) => !streamed.has(id));
    if (others.length === 0) return;
    for (const id of others) told.add(id);
    asking ??= setTimeout(() => ask(), 400);
  });
  const ask = async () => {
    asking = undefined;
    const ids = [...told].filter((id) => rowOf(document, id));
    told.clear();
    if (ids.length === 0 || document.hidden) return;
    const query = new URLSearchParams(location.search);
    for (const id of ids) query.append("id", id);
    const response = await fetch(`/fleet/rows?${query}`).catch(() => undefined);
    if (!response?.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const id of ids) replace(rowOf(document, id), rowOf(page, id));
    const counted = $("[data-moved]");
    if (!counted || moved.size === 0) return;
    counted.textContent = `${moved.size} row${moved.size === 1 ? "" : "s"} changed since sorted`;
    $("#moved").hidden = false;
  };
  const rowOf = (root, id) => $(`tr[data-device="${CSS.escape(id)}"]`, root);
  /** Cell by cell: what is selected and focused stays. */
  const replace = (old, next) => {
    if (!old || !next) return;
    for (const cell of $$("td[data-col]", old)) {
      const fresh = $(`td[data-col="${cell.dataset.col}"]`, next);
      if (!fresh || cell.contains(document.activeElement)) continue;
      if (cell.dataset.col !== "seen" && cell.textContent !== fresh.textContent) moved.add(old.dataset.device);
      cell.replaceChildren(...fresh.cloneNode(true).childNodes);
    }
  };

  const count = () => {
    const bar = $("[data-bulk]");
    if (!bar) return;
    const boxes = $$("input[name=id]"), chosen = boxes.filter(({ checked }) => checked).length;
    const all = $("input[name=all]", bar);
    bar.hidden = chosen === 0;
    if (chosen === 0) all.checked = false;
    $("[data-selected]", bar).textContent = all.checked ? `All ${all.value} selected` : `${chosen} selected`;
    for (const box of boxes) box.closest("tr").classList.toggle("sel", box.checked);
    const every = $("[data-all]");
    every.checked = chosen > 0 && chosen === boxes.length;
    every.indeterminate = chosen > 0 && chosen < boxes.length;
  };
  on("change", ({ target }) => {
    if (target.matches("[data-all]")) { for (const box of $$("input[name=id]")) box.checked = target.checked; }
    count();
  });
  on("htmx:after:swap", () => {
    moved.clear();
    count();
  });
  count();
}
