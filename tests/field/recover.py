"""Writes a database anew as the shell's `.recover` does: a script of tables, rows, then everything else; what it could not read
is not there. Debian's shell can't do it itself (its library lacks the table of pages that `.recover` reads).

Made after home-assistant/core#115342 (a check after an unclean end decides whether a database is thrown away) and the advice
there and elsewhere to repair it by `.recover`: what comes out is a file like any other, with rows missing.

    recover.py FROM TO [LOST TABLE …]
"""
import sqlite3
import sys

source, target, *lost = sys.argv[1:]
old = sqlite3.connect(source)
lines = ["BEGIN", "PRAGMA writable_schema = on", "PRAGMA encoding = 'UTF-8'"]
for pragma in ("page_size", "auto_vacuum", "user_version", "application_id"):
    lines.append(f"PRAGMA {pragma} = '{old.execute(f'PRAGMA {pragma}').fetchone()[0]}'")
objects = old.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
tables = [(name, sql) for kind, name, sql in objects if kind == "table"]
# SQLite makes this one itself.
lines += [sql for name, sql in tables if name != "sqlite_sequence"]
for name, _ in tables:
    columns = [row[1] for row in old.execute(f"SELECT * FROM pragma_table_xinfo('{name}')") if row[6] == 0]
    if name == "sqlite_sequence":
        lines.append("DELETE FROM sqlite_sequence")
    if name in lost:
        continue
    quoted = ", ".join(f"'{column}'" for column in columns)
    values = " || ', ' || ".join(f'quote("{column}")' for column in columns)
    for (row,) in old.execute(f'SELECT {values} FROM "{name}"'):
        lines.append(f"INSERT OR IGNORE INTO '{name}'({quoted}) VALUES ({row})")
lines += [sql for kind, name, sql in objects if kind != "table"]
lines += ["PRAGMA writable_schema = off", "COMMIT"]
new = sqlite3.connect(target, isolation_level=None)
for line in lines:
    new.execute(line)
new.close()
print("ok")
