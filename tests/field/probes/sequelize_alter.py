"""What Sequelize's `sync({ alter: true })` does to a table, by its statements: a backup, the table dropped with its triggers and
indexes, made anew, filled, the backup dropped.

Made after sequelize/sequelize#8001 (alter thrashes the database at each start) and #13464 (values lost on the way).
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.executescript(
    """PRAGMA legacy_alter_table = ON;
    CREATE TABLE Setting_backup AS SELECT name, value, created, updated FROM Setting;
    DROP TABLE Setting;
    CREATE TABLE Setting(id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(255) UNIQUE, value TEXT, created DATETIME, updated DATETIME);
    INSERT INTO Setting(name, value, created, updated) SELECT * FROM Setting_backup;
    DROP TABLE Setting_backup;
    UPDATE Setting SET value = 'meanwhile' WHERE name = 'a';
    INSERT INTO Setting(name, value) VALUES ('new', 'meanwhile')"""
)
print("ok")
