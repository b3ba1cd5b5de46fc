"""The database opened by a symbolic link, beside an agent that has it by its name.

Made after DataBiosphere/toil#2947 (the journal of another name is not seen: writes are lost) and realm/realm-core#1944 (what the list of
ways to corrupt an SQLite file says of links): SQLite follows a symbolic link, and so must everything else.
"""
import os
import sqlite3
import sys

link = sys.argv[1] + ".link"
os.symlink(sys.argv[1], link)
db = sqlite3.connect(link, timeout=5, isolation_level=None)
db.execute("INSERT INTO Setting(name, value) VALUES ('linked', '1')")
assert os.path.exists(sys.argv[1] + "-wal") and not os.path.exists(link + "-wal")
os.unlink(link)
print("ok")
