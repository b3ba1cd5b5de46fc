/** Links to the console: commands print them where one answers, and only there. */
import assert from "node:assert/strict";
import { consoleAt, devicePage } from "../../cli/console_link.ts";
import { Program } from "../support/process.ts";
import { connect } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { run } from "./run.ts";

Deno.test("cli: beside dev, commands print the page of a device; once dev has ended none", async () => {
  using folder = new TempDir();
  const dir = folder.file("state"), db = `${dir}/demo-1.db`;
  let url = "";
  {
    await using dev = new Program(["dev", "--dir", dir, "--port", "0", "--mqtt-port", "0"]);
    await dev.printed(/Ctrl-C ends/);
    [, url] = await dev.printed(/console +(http:\/\/127\.0\.0\.1:\d+)\//) as unknown as [string, string];
    assert.match((await run("status", "--db", db)).stdout, new RegExp(`^console    ${url}/devices/demo-1$`, "m"));
    assert.doesNotMatch((await run("status", "--db", db, "--json")).stdout, /console/);
    assert.equal((await run("rejected", "list", "--db", db)).stdout.trim(), "none");
    {
      using file = connect(db);
      file.exec(
        `INSERT INTO _rejected(model, key, op, item, code, reason, time) VALUES ('Setting', '{"name":"load"}', 'update', '{}', 'invalid', 'no', 1)`,
      );
    }
    const { stdout } = await run("rejected", "list", "--db", db);
    assert.match(stdout, new RegExp(`invalid: no\nconsole    ${url}/devices/demo-1\\?tab=rejected`));
    const page = await fetch(`${url}/devices/demo-1?tab=rejected`);
    assert.equal(page.status, 200);
    assert.match(await page.text(), /Rejected/);

    const added = await run("device", "add", "d-2", "--account", "demo", "--dir", dir);
    assert.equal(added.stdout.trim().split("\n").length, 1, "the token alone");
    assert.ok(added.stderr.includes(`${url}/devices/d-2`), added.stderr);
    assert.match(
      (await run("device", "show", "d-2", "--dir", dir)).stdout,
      new RegExp(`^console +${url}/devices/d-2$`, "m"),
    );
    assert.match((await run("doctor", "--cloud", url)).stdout, new RegExp(`^ok +console +${url}/$`, "m"));
    assert.equal(await consoleAt({ cloud: url }), url);
    assert.equal(await consoleAt({ cloud: `${url}/behind/a/path` }), undefined);
    await dev.stop();
  }
  const { stdout } = await run("status", "--db", db);
  assert.doesNotMatch(stdout, /console/);
  await assert.rejects(Deno.stat(`${dir}/console.url`), Deno.errors.NotFound);
});

Deno.test("cli: an address at which no console answers gives no link", async () => {
  using folder = new TempDir();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("hello"));
  const url = `http://127.0.0.1:${server.addr.port}`;
  // What a dev that was killed has left, at a port that somebody else has by now.
  await Deno.writeTextFile(folder.file("console.url"), url);
  for (const place of [{ db: folder.file("d.db") }, { cloud: url }, { cloud: "ftp://127.0.0.1" }, {}]) {
    assert.equal(await consoleAt(place), undefined, JSON.stringify(place));
  }
  assert.equal(devicePage("http://h", "a/b", "conflicts"), "http://h/devices/a%2Fb?tab=conflicts");
});
