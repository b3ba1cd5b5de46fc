import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { CommitWatch } from "../../../agent/sqlite/commit_watch.ts";
import { until } from "../../support/until.ts";

async function withDatabase(run: (path: string, db: DatabaseSync) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/test.db`;
  const db = new DatabaseSync(path);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; CREATE TABLE T(n)");
  try {
    await run(path, db);
  } finally {
    db.close();
    await Deno.remove(dir, { recursive: true });
  }
}

const versionOf = (db: DatabaseSync) => {
  const statement = db.prepare("PRAGMA data_version");
  return () => Number(statement.get()!.data_version);
};

/** Another process: the only writer whose commits are to wake the agent. */
async function commitElsewhere(path: string, sql = "INSERT INTO T VALUES(1)"): Promise<void> {
  const code = `import { DatabaseSync } from "node:sqlite"; const db = new DatabaseSync(${
    JSON.stringify(path)
  }); db.exec("PRAGMA busy_timeout = 5000"); db.exec(${JSON.stringify(sql)}); db.close();`;
  const { success } = await new Deno.Command(Deno.execPath(), { args: ["eval", code] }).output();
  assert.ok(success);
}

Deno.test("wake: a commit of another connection is told by the file watch, well before the poll", async () => {
  await withDatabase(async (path, db) => {
    let wakes = 0;
    const other = new DatabaseSync(path);
    other.exec("INSERT INTO T VALUES(0)");
    const watch = new CommitWatch(path, { onWake: () => wakes++, dataVersion: versionOf(db), pollMs: 60_000 });
    for (let n = 1; n <= 20; n++) {
      other.exec("INSERT INTO T VALUES(1)");
      await until("it woke", () => wakes >= n, 2_000);
    }
    assert.equal(wakes, 20);
    watch.close();
    other.close();
  });
});

Deno.test("wake: a commit that follows the agent's own is told at once, not when the looks for the agent's own are over", async () => {
  await withDatabase(async (path, db) => {
    const delays: number[] = [];
    let committedMs = 0;
    const other = new DatabaseSync(path);
    other.exec("INSERT INTO T VALUES(0)");
    const watch = new CommitWatch(path, {
      onWake: () => delays.push(performance.now() - committedMs),
      dataVersion: versionOf(db),
      pollMs: 60_000,
    });
    for (let n = 1; n <= 30; n++) {
      db.exec("INSERT INTO T VALUES(1)");
      // Behind the third look, whose successor is 30 ms away.
      await new Promise((resolve) => setTimeout(resolve, 16));
      other.exec("INSERT INTO T VALUES(1)");
      committedMs = performance.now();
      await until("it woke", () => delays.length >= n, 2_000);
    }
    const middle = delays.sort((a, b) => a - b)[15]!;
    assert.ok(middle < 12, `${middle.toFixed(1)} ms`);
    watch.close();
    other.close();
  });
});

Deno.test("wake: another process' commit wakes too", async () => {
  await withDatabase(async (path, db) => {
    let wakes = 0;
    const watch = new CommitWatch(path, { onWake: () => wakes++, dataVersion: versionOf(db), pollMs: 100 });
    await commitElsewhere(path);
    await until("it woke", () => wakes > 0);
    watch.close();
  });
});

Deno.test("wake: the agent's own commits and other processes' reads and rollbacks wake nobody", async () => {
  await withDatabase(async (path, db) => {
    let wakes = 0;
    const other = new DatabaseSync(path);
    const watch = new CommitWatch(path, { onWake: () => wakes++, dataVersion: versionOf(db), pollMs: 10 });
    for (let n = 0; n < 20; n++) {
      db.exec("INSERT INTO T VALUES(1)");
      other.prepare("SELECT count(*) FROM T").get();
      other.exec("BEGIN IMMEDIATE; INSERT INTO T VALUES(2); ROLLBACK");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(wakes, 0);
    other.exec("INSERT INTO T VALUES(1)");
    await until("a commit woke", () => wakes === 1);
    watch.close();
    other.close();
  });
});

Deno.test("wake: a WAL that vanishes and comes back is watched again", async () => {
  await withDatabase(async (path, db) => {
    let wakes = 0;
    // The WAL of this database is gone while no connection is open; the version then comes from a counter.
    let counter = 0;
    db.close();
    await assert.rejects(Deno.stat(`${path}-wal`));
    const watch = new CommitWatch(path, { onWake: () => wakes++, dataVersion: () => counter, pollMs: 20 });
    for (let round = 1; round <= 3; round++) {
      const other = new DatabaseSync(path);
      other.exec("PRAGMA journal_mode = WAL; INSERT INTO T VALUES(1)");
      counter++;
      await until("the poll told it", () => wakes >= round);
      other.close();
    }
    watch.close();
    db.open();
  });
});

Deno.test("wake: a burst of commits is a bounded number of wake-ups, the last of which comes after the last commit", async () => {
  await withDatabase(async (path, db) => {
    let wakes = 0, seen = 0;
    const count = db.prepare("SELECT count(*) AS n FROM T");
    const other = new DatabaseSync(path);
    other.exec("PRAGMA synchronous = OFF; INSERT INTO T VALUES(0)");
    const watch = new CommitWatch(path, {
      onWake: () => {
        wakes++;
        seen = Number(count.get()!.n);
      },
      dataVersion: versionOf(db),
      minGapMs: 50,
    });
    const began = performance.now();
    for (let n = 1; n < 500; n++) {
      other.exec("INSERT INTO T VALUES(1)");
      if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await until("the last commit was seen", () => seen === 500);
    const allowed = (performance.now() - began) / 50 + 2;
    assert.ok(wakes <= allowed, `${wakes} wake-ups, ${allowed} allowed`);
    watch.close();
    other.close();
  });
});

Deno.test("wake: a database that is busy or closed ends a look, not the watch", async () => {
  await withDatabase(async (path, db) => {
    let wakes = 0, failing = true;
    const version = versionOf(db);
    const watch = new CommitWatch(path, {
      onWake: () => wakes++,
      dataVersion: () => {
        if (failing) throw new Error("database is locked");
        return version();
      },
      pollMs: 10,
    });
    const other = new DatabaseSync(path);
    other.exec("INSERT INTO T VALUES(1)");
    failing = false;
    await until("it woke", () => wakes > 0);
    watch.close();
    other.close();
  });
});

Deno.test("wake: after close nothing is told", async () => {
  await withDatabase(async (path, db) => {
    let wakes = 0;
    const watch = new CommitWatch(path, { onWake: () => wakes++, dataVersion: versionOf(db), pollMs: 5 });
    watch.close();
    watch.close();
    const other = new DatabaseSync(path);
    other.exec("INSERT INTO T VALUES(1)");
    other.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(wakes, 0);
  });
});

Deno.test("wake: whoever is woken by a poll may close the watch, and nothing runs on", async () => {
  await withDatabase(async (path) => {
    let looks = 0, wakes = 0;
    const close = () => watch.close();
    // No file watch, and each look finds a commit: the first poll wakes.
    const watch = new CommitWatch(`${path}-none`, {
      onWake: () => {
        wakes++;
        close();
      },
      dataVersion: () => looks++,
      pollMs: 5,
    });
    await until("the poll woke somebody", () => wakes === 1);
    const before = looks;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(looks, before);
    assert.equal(wakes, 1);
  });
});
