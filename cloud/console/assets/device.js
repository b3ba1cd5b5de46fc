// A device's page is asked for again when it is heard of.
"use strict";
{
  const { $, on } = globalThis.twintable;
  let asking;
  const again = () =>
    asking ??= setTimeout(() => {
      asking = undefined;
      $("#device")?.dispatchEvent(new Event("tt:refresh"));
    }, 300);
  on("tt:row", again);
  // Under Changes: what is logged in the channel that is shown.
  on("tt:stage", (event) => {
    const { stage, channel } = JSON.parse(event.detail.data);
    if (stage === "logged" && channel === $("[data-channel]")?.dataset.channel) again();
  });
  on("tt:change", (event) => {
    const { seq, channel } = JSON.parse(event.detail.data);
    if (seq !== undefined && channel === $("[data-channel]")?.dataset.channel) again();
  });
}
