"""What people run on a database now and then: VACUUM, ANALYZE, REINDEX, checkpoints, another journal mode, a changed page cache.

Made after drizzle-team/drizzle-orm#3979 (`PRAGMA optimize` leaves tables of SQLite's own) and WiseLibs/better-sqlite3#1237 (WAL files
handled by hand): after each the agent goes on.
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.execute("INSERT INTO Setting(name, value) VALUES ('before', '1')")
for sql in ("VACUUM", "ANALYZE", "REINDEX", "PRAGMA optimize", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA cache_size = 10"):
    db.execute(sql).fetchall()
try:
    # Refused while the agent has it open; it would take the file out of WAL mode.
    mode = db.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
except sqlite3.OperationalError:
    mode = "wal"
assert mode == "wal", mode
db.execute("INSERT INTO Setting(name, value) VALUES ('after', '1')")
print("ok")
