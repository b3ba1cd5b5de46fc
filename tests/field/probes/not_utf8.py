"""Texts that are not UTF-8, in a key and in a value, beside ones that are odd and right: a NUL, a byte order mark.

Made after coleifer/sqlite-web#160 (a program writes a separator byte into a TEXT column, and readers crash) and the same report of
many others (the-paperless-project/paperless#544): such a row must not stop its neighbours, nor become another text.
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.execute("INSERT INTO Setting(name, value) VALUES (CAST(x'42fc726f' AS TEXT), 'key')")
db.execute("INSERT INTO Setting(name, value) VALUES ('value', CAST(x'42fc726f' AS TEXT))")
db.execute("INSERT INTO Setting(name, value) VALUES ('bom', char(65279) || 'b'), ('nul', 'a' || char(0) || 'b')")
db.execute("INSERT INTO Setting(name, value) VALUES ('replacement', char(65533))")
print("ok")
