"""Row numbers beyond 2^53, as an application with snowflake ids gives them: what JavaScript rounds must not be rounded.

Made after nodejs/node#65177 (node:sqlite rounds a row number without a word) and antares-sql/antares#467 (precision is lost when a
snowflake id is inserted).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
for i, row in enumerate((2**53 + 1, 2**63 - 1, -(2**63), 1234567824702058497)):
    db.execute("INSERT INTO Setting(_id, name, value) VALUES (?, ?, 'x')", (row, f"n{i}"))
    db.execute("UPDATE Setting SET value = ? WHERE _id = ?", (str(row), row))
db.execute("DELETE FROM Setting WHERE name = 'n3'")
assert [row for (row,) in db.execute("SELECT _id FROM Setting WHERE _id > 0 ORDER BY _id")] == [2**53 + 1, 2**63 - 1]
print("ok")
