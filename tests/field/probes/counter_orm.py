"""An ORM on a table whose rows SQLite counted before it was onboarded: its insert without an id goes on as it was, and finds its row
again by `_id`.

Made after kysely-org/kysely#1344 (an INTEGER PRIMARY KEY fills itself, and ORMs leave it out).
"""
import sys

from peewee import AutoField, FloatField, Model, SqliteDatabase, TextField

db = SqliteDatabase(sys.argv[1], timeout=5)


class Before(Model):
    """As it was mapped before: the key is `id`."""

    id = AutoField()
    cpu = FloatField()

    class Meta:
        database = db
        table_name = "Telemetry"


class After(Model):
    """As it is mapped best from now on: `_id` is what SQLite counts."""

    row = AutoField(column_name="_id")
    id = TextField()
    cpu = FloatField()

    class Meta:
        database = db
        table_name = "Telemetry"


number = Before.insert(cpu=30.5).execute()
assert After.get_by_id(number).cpu == 30.5
made = After.insert(cpu=31.5).execute()
assert len(After.get_by_id(made).id) == 26
After.update(cpu=32.5).where(After.row == made).execute()
assert After.get_by_id(made).cpu == 32.5
print("ok")
