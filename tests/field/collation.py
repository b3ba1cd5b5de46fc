"""A database with a collation of its application's, as Android's contacts have it: nobody else knows it.

Made after sqlitebrowser/sqlitebrowser#54 (`no such collation sequence: LOCALIZED`) and home-assistant/core#115342 (a check
after an unclean end decides whether a database is thrown away): the agent must tell one from the other.
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.create_collation("LOCALIZED", lambda a, b: (a > b) - (a < b))
db.executescript(
    """CREATE TABLE channel(id INTEGER PRIMARY KEY, name TEXT COLLATE LOCALIZED, UNIQUE (name));
    INSERT INTO channel(name) VALUES ('b'), ('a'); INSERT INTO Setting(name, value) VALUES ('kept', 'v')"""
)
print("ok")
