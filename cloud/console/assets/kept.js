// Conflicts and Rejected: what changes meanwhile is told, and nothing moves until it is looked at again; what is selected is
// counted. A job's page renews itself.
"use strict";
{
  const { $, $$, on, say } = globalThis.twintable;

  const changed = new Set();
  on("tt:kept", (event) => {
    const { device } = JSON.parse(event.detail.data), news = $("#kept-news");
    const only = new URLSearchParams(location.search).get("device");
    if (!news || (only && only !== device)) return;
    changed.add(device);
    const names = [...changed];
    $("[data-news]", news).textContent = `Changed meanwhile on ${names.slice(0, 3).join(", ")}${
      names.length > 3 ? ` and ${names.length - 3} more` : ""
    }.`;
    news.hidden = false;
  });

  const count = (form) => {
    const boxes = $$("input[name=kept]", form), chosen = boxes.filter(({ checked }) => checked).length;
    const bar = $("[data-bulk]", form);
    bar.hidden = chosen === 0;
    $("[data-selected]", bar).textContent = `${chosen} selected`;
    for (const box of boxes) box.closest("li").classList.toggle("sel", box.checked);
  };
  on("change", ({ target }) => target.matches("input[name=kept]") && count(target.form));
  for (const form of $$("form[data-select]")) count(form);

  // Enter on a row opens it.
  on("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("li[data-row]")) return;
    const details = $("details", event.target);
    details.open = !details.open;
    $("summary", details).focus();
  });
  on("htmx:after:swap", () => {
    const state = $("#job")?.dataset.state;
    if (state === "done" || state === "cancelled") say($("#job-progress").textContent);
  });
}
