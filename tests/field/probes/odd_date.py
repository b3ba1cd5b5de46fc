"""A day that there is not, in a date that stands in a key: SQLite 3.40 takes it, later versions do not, so that a check of the file
by another SQLite would complain of a healthy database.

Made after MemPalace/mempalace#2240 (one version's quick_check calls malformed what another calls ok).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.execute("INSERT INTO Thing(kind, n, at) VALUES ('a', 1, '2026-02-28T12:00:00.000Z')")
db.execute("INSERT INTO Setting(name, value) VALUES ('dated', '1')")
for check in ("quick_check", "integrity_check"):
    assert db.execute(f"PRAGMA {check}").fetchall() == [("ok",)]
print("ok")
