// A device's page is asked for again when it is heard of.
"use strict";
{
  const { $, on } = globalThis.twintable;
  let asking;
  on("tt:row", () => {
    asking ??= setTimeout(() => {
      asking = undefined;
      $("#device")?.dispatchEvent(new Event("tt:refresh"));
    }, 300);
  });
}
