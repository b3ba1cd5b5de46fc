/**
 * `deno run -A --no-check tests/console/pictures.ts`: takes the console's pictures for the documents, in Debian's Chromium with
 * its Inter, and notes of which sources they are. `pictures_test.ts` says when those have changed since.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Program } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { closeBrowser, type Page, Visits } from "./browser.ts";
import { TestCloud } from "./cloud.ts";
import { busyMinute, putSamples } from "./samples.ts";

const root = new URL("../../", import.meta.url);
const folder = new URL("docs/pictures/", root);
const note = new URL("sources.json", folder);

/** What a picture shows: the files that make it. */
export const pictures: Readonly<Record<string, readonly string[]>> = {
  "twin.png": [
    "assets/base.css",
    "assets/twin.css",
    "layout.tsx",
    "pages/twin.tsx",
    "pages/twin_side.tsx",
    "pages/twin_log.tsx",
    "pages/twin_minute.tsx",
    "pages/twin_wire.tsx",
  ],
  "fleet.png": [
    "assets/base.css",
    "assets/fleet.css",
    "layout.tsx",
    "pages/fleet.tsx",
    "pages/fleet_tiles.tsx",
    "pages/fleet_tools.tsx",
    "pages/fleet_columns.tsx",
  ],
};

/** The hash of a picture's sources now. */
export async function sourcesOf(name: string): Promise<string> {
  const hash = createHash("sha256");
  for (const file of pictures[name]!) hash.update(await Deno.readFile(new URL(`cloud/console/${file}`, root)));
  return hash.digest("hex");
}

/** The hashes when the pictures were taken. */
export async function notedSources(): Promise<Record<string, string>> {
  return JSON.parse(await Deno.readTextFile(note));
}

async function takeTwin(page: Page): Promise<void> {
  using dir = new TempDir();
  await using dev = new Program(["dev", "--dir", dir.file("state"), "--port", "0", "--mqtt-port", "0"]);
  const [, url] = await dev.printed(/console +(http:\S+?)\/ /);
  await page.goto(url!);
  await page.locator("#live[data-state=live]").waitFor();
  const change = async (label: string, value: string) => {
    await page.getByLabel(label).click();
    await page.getByLabel(label).fill(value);
    await page.keyboard.press("Enter");
  };
  await change("value of disk in the cloud", "80");
  await page.locator("[data-step='2'].done").waitFor();
  await change("value of memory on the device", "85");
  await page.locator("[data-step='1'].done").waitFor();
  await page.getByLabel("value of load in the cloud").click();
  await page.getByLabel("value of load in the cloud").fill("70");
  await page.locator("#curl-line").getByText('"value":70').waitFor();
  await page.screenshot({ path: fileURLToPath(new URL("twin.png", folder)) });
}

async function takeFleet(page: Page): Promise<void> {
  await using test = await TestCloud.start({ label: "twin-prod" });
  const now = Date.now(), { registry } = test.cloud;
  const problems: readonly [id: string, report: object][] = [
    ["press-0412", { outbox: 5_000_000, oldest: now - 11_520_000, problem: "outbox full: new writes are refused" }],
    ["kiln-0007", { outbox: 41_220, oldest: now - 3_120_000, conflicts: 3, problem: "disk full: 0 of 512 MB free" }],
    ["press-0419", { outbox: 0, rejected: 214 }],
    ["crane-0031", { outbox: 18_403, oldest: now - 1_440_000 }],
    ["buoy-2207", { outbox: 640, oldest: now - 660_000, conflicts: 1 }],
  ];
  for (const [id, report] of problems) {
    await registry.add(id, id.startsWith("press") ? "acme" : "solvik");
    await registry.touch(id, true, {
      agent: "0.1.0",
      schema: "8c41fe20",
      at: { [`device:${id}`]: 0 },
      up: 12,
      down: 3,
      rejected: 0,
      conflicts: 0,
      ...report,
    });
  }
  for (let at = 0; at < 240; at++) {
    const id = `van-${String(at).padStart(4, "0")}`;
    await registry.add(id, "harbourline");
    await registry.touch(id, at % 40 !== 0, {
      agent: "0.1.0",
      schema: "8c41fe20",
      outbox: at % 3,
      at: { [`device:${id}`]: 0 },
      up: at % 5,
      down: 1,
      rejected: 0,
      conflicts: 0,
    });
  }
  // Their logs are known, and nobody lacks anything of them.
  for (const { deviceId } of (await registry.list({ limit: 1_000 })).devices) {
    await test.cloud.service.log.state(`device:${deviceId}`);
  }
  // The half hour before, of two workers, and the minute that may begin meanwhile.
  for (const worker of ["w-1", "w-2"]) {
    await putSamples(
      test.cloud.tables.log,
      worker,
      { fromMs: now - 30 * 60_000, minutes: 33 },
      (minute) => busyMinute(minute, worker === "w-1" ? { tailing: 0 } : {}),
    );
  }
  await page.goto(`${test.url}/fleet`);
  await page.locator("#live[data-state=live]").waitFor();
  await page.screenshot({ path: fileURLToPath(new URL("fleet.png", folder)) });
}

if (import.meta.main) {
  await Deno.mkdir(folder, { recursive: true });
  await using visits = await Visits.open();
  await takeTwin(await visits.page({ colorScheme: "dark", viewport: { width: 1280, height: 800 } }));
  await takeFleet(await visits.page({ colorScheme: "light", viewport: { width: 1280, height: 800 } }));
  const hashes = await Promise.all(Object.keys(pictures).map(async (name) => [name, await sourcesOf(name)] as const));
  await Deno.writeTextFile(note, `${JSON.stringify(Object.fromEntries(hashes), null, 2)}\n`);
  await closeBrowser();
}
