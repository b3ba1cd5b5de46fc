"""A logger's file from before Twintable: rows that SQLite counts, times as the clock on the wall showed them, seconds in newer rows.

Made after curzon01/mqtt2sql#24 (rows in local time, so that an hour comes twice in October) and kysely-org/kysely#1344 (an
INTEGER PRIMARY KEY counts by itself, whether AUTOINCREMENT is said or not).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.executescript(
    """CREATE TABLE Telemetry(id INTEGER PRIMARY KEY AUTOINCREMENT, cpu REAL NOT NULL, expires TIMESTAMP);
    INSERT INTO Telemetry(cpu, expires) VALUES (20.5, '2023-10-29 02:30:00'), (21.5, '2023-10-29T02:30:00+01:00'), (22.5, 1700000000)"""
)
print("ok")
