"""One row updated again and again while the device is offline, inserts that are ignored, and updates that change nothing.

Made after powersync-ja/powersync-sqlite-core#66 and powersync-ja/powersync-kotlin#144 (an upload queue full of updates that say
nothing): what waits is one change, and nothing may be refused for its sake.
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.execute("INSERT INTO Setting(name, value) VALUES ('busy', '0')")
for i in range(1, 1101):
    db.execute("UPDATE Setting SET value = ? WHERE name = 'busy'", (str(i),))
    db.execute("INSERT OR IGNORE INTO Setting(name, value) VALUES ('busy', 'ignored')")
print("ok")
