"""`INSERT OR REPLACE`, which evicts rows by any unique value and fires no delete trigger for them.

Made after simonw/sqlite-chronicle#20 (a year of attempts to make triggers see it) and Mimetis/Dotmim.Sync#460 (data lost by it).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.execute("INSERT INTO Setting(name, slot, value) VALUES ('a', 1, '1'), ('b', 2, '2'), ('c', 3, '3')")
db.execute("REPLACE INTO Setting(name, slot, value) VALUES ('d', 1, '4')")
db.execute("INSERT OR REPLACE INTO Setting(name, slot, value) VALUES ('b', 3, '5')")
assert [tuple(row) for row in db.execute("SELECT name, slot, value FROM Setting ORDER BY name")] == [("b", 3, "5"), ("d", 1, "4")]
print("ok")
