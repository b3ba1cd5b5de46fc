"""Peewee's `create_tables` and migrator on a device's file: its own tables beside the agent's, a column more for a model's.

Made after coleifer/peewee#2988 (rows lost where `drop_not_null` copies a table and the power goes): on a model's table such a step is
refused, since the agent's views read it, and nothing is lost.
"""
import sys

from peewee import AutoField, Model, OperationalError, SqliteDatabase, TextField
from playhouse.migrate import SqliteMigrator, migrate

db = SqliteDatabase(sys.argv[1], timeout=5)


class Setting(Model):
    row = AutoField(column_name="_id")
    # Not `unique=True`: `create_tables` would make an index of its own.
    name = TextField()
    value = TextField(null=True)

    class Meta:
        database = db
        table_name = "Setting"


class Mine(Model):
    note = TextField()

    class Meta:
        database = db


def objects():
    return db.execute_sql("SELECT name, sql FROM sqlite_master WHERE tbl_name = 'Setting' ORDER BY name").fetchall()


before = objects()
db.create_tables([Setting, Mine], safe=True)
assert objects() == before
Setting.create(name="peewee", value="1")
migrator = SqliteMigrator(db)
migrate(migrator.add_column("setting", "tint", TextField(null=True)), migrator.drop_not_null("mine", "note"))
before = objects()
try:
    with db.atomic():
        migrate(migrator.drop_not_null("Setting", "name"))
    raise AssertionError("it went through")
except (OperationalError, ValueError) as error:
    print("refused:", error)
assert objects() == before
assert Setting.get(Setting.name == "peewee").value == "1"
print("ok")
