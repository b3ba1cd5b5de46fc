#!/usr/bin/env python3
"""An application on the device in Python, with nothing but the standard library: it writes rows, and reads what the
cloud changed. Start `deno run -A mod.ts` first, then: python3 examples/telemetry.py .twintable/demo-1.db

It never talks to the agent. The agent sees committed rows by itself; what comes from the cloud stands in the tables, and
the table `_changes` says in order what came.
"""

import json
import sqlite3
import sys
import time


def connect(path):
    """Opens a device database that the agent has made. isolation_level=None: each statement commits by itself."""
    db = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=10, isolation_level=None)
    db.row_factory = sqlite3.Row
    return db


def report(db, load, memory, disk):
    """One row is one item in the cloud's table: id, device, and times fill in by themselves."""
    db.execute(
        "INSERT INTO Telemetry(load, memory, disk, network) VALUES (?, ?, ?, ?)",
        (load, memory, disk, json.dumps({"lo": {"received": 0, "sent": 0}})),
    )


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else ".twintable/demo-1.db"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    try:
        db = connect(path)
        seen = db.execute("SELECT coalesce(max(sequence), 0) FROM _changes").fetchone()[0]
    except sqlite3.OperationalError as error:
        sys.exit(f"{path}: {error}; is it a device database? Start the agent (deno run -A mod.ts) first")

    # A setting is created once and changed afterwards: an UPSERT on its name. This reaches the cloud as well.
    db.execute(
        "INSERT INTO Setting(name, value) VALUES ('python', 1) "
        "ON CONFLICT(name) DO UPDATE SET value = excluded.value"
    )
    done = 0
    while rounds == 0 or done < rounds:
        report(db, load=10.5, memory=40, disk=50)
        for change in db.execute(
            "SELECT sequence, model, key, op FROM _changes WHERE sequence > ? ORDER BY sequence", (seen,)
        ).fetchall():
            seen = change["sequence"]
            print(f"from the cloud: {change['op']} {change['model']} {change['key']}", flush=True)
        waiting = db.execute("SELECT count(*) FROM _pending").fetchone()[0]
        print(f"{waiting} changes wait for the cloud", flush=True)
        done += 1
        time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
