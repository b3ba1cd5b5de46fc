"""A trigger that skips rows with RAISE(IGNORE): the agent's own writes as well as the application's.

Made after Dicklesworthstone/frankensqlite#229 (a BEFORE UPDATE trigger that ignores one row of several): the other rows are written,
the skipped one is not, and nobody may believe that it was.
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.executescript(
    """CREATE TRIGGER skip BEFORE INSERT ON Setting WHEN new.name = 'skipped' BEGIN SELECT RAISE(IGNORE); END;
    INSERT INTO Setting(name, value) VALUES ('skipped', '1'), ('written', '1')"""
)
assert [name for (name,) in db.execute("SELECT name FROM Setting")] == ["written"]
print("ok")
