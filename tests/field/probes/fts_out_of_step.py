"""A full-text index that is out of step with its table, as triggers of an application leave it: no damage to a database.

Made after ohdearquant/khive#2273 (an asymmetric pair of triggers, then "database disk image is malformed") and
MemPalace/mempalace#2240 (a check that takes it for damage).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.executescript(
    """CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT);
    CREATE VIRTUAL TABLE note_text USING fts5(body, content='note', content_rowid='id');
    INSERT INTO note(body) VALUES ('one'), ('two'); INSERT INTO note_text(note_text) VALUES ('rebuild');
    UPDATE note_text_data SET block = zeroblob(length(block)) WHERE id > 10;
    INSERT INTO Setting(name, value) VALUES ('kept', '1')"""
)
print("ok")
