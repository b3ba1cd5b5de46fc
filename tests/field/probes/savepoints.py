"""Savepoints that are rolled back, attached databases, several rows by one statement, a transaction that is given up.

Made after antares-sql/antares#523 (statements of tools lose what triggers should have seen).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.executescript(
    """ATTACH ':memory:' AS other; CREATE TABLE other.incoming(name, value); INSERT INTO other.incoming VALUES ('x', '1'), ('y', '2');
    BEGIN; INSERT INTO Setting(name, value) SELECT name, value FROM other.incoming;
    SAVEPOINT s; UPDATE Setting SET value = 'lost'; INSERT INTO Setting(name) VALUES ('lost'); ROLLBACK TO s; RELEASE s;
    UPDATE Setting SET value = value || '!' WHERE name = 'y'; COMMIT;
    BEGIN; DELETE FROM Setting; ROLLBACK"""
)
print("ok")
