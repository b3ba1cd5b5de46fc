"""A trigger of the application that refuses deletions: those of rows that expire, too.

Made after tursodatabase/turso#5179 (a trigger that can't run blocks every statement that fires it).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.executescript(
    """CREATE TRIGGER never BEFORE DELETE ON Telemetry WHEN old.id = 'kept' BEGIN SELECT RAISE(ABORT, 'not that one'); END;
    INSERT INTO Telemetry(id, cpu, expires) VALUES ('kept', 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour')),
      ('goes', 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour'));
    INSERT INTO Setting(name, value) VALUES ('after', '1')"""
)
print("ok")
