"""The agent's own tables, dropped by a tool that does not know them.

Made after sqlalchemy/alembic#596 and drizzle-team/drizzle-orm#3979 (tools that drop what they don't know).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.execute("INSERT INTO Setting(name, value) VALUES ('unsent', '1')")
db.executescript("DROP VIEW _pending; DROP VIEW _status; DROP TABLE _outbox; DROP TABLE _changes; DROP TABLE _sync_channels")
print("ok")
