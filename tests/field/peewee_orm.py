"""Peewee on a device's tables: its code generator's introspection, insert, update, upsert, replace, delete.

Made after jeremyevans/sequel#1813 and antares-sql/antares#523 (tools that lose a table's triggers when they alter it): what
Peewee writes must be seen by the triggers, whatever form of statement it chooses.
"""
import sys

from peewee import AutoField, Model, SqliteDatabase, TextField
from playhouse.reflection import Introspector

db = SqliteDatabase(sys.argv[1], timeout=5)


class Setting(Model):
    row = AutoField(column_name="_id")
    name = TextField(unique=True)
    value = TextField(null=True)

    class Meta:
        database = db
        table_name = "Setting"


found = Introspector.from_database(db).generate_models(table_names=["Setting"])
assert "name" in found["Setting"]._meta.fields, found
Setting.create(name="peewee", value="1")
Setting.update(value="2").where(Setting.name == "peewee").execute()
Setting.insert(name="peewee", value="3").on_conflict(conflict_target=[Setting.name], preserve=[Setting.value]).execute()
Setting.replace(name="other", value="4").execute()
Setting.replace(name="other", value="5").execute()
Setting.insert(name="other", value="6").on_conflict_ignore().execute()
with db.atomic():
    Setting.insert_many([{"name": f"n{i}", "value": str(i)} for i in range(3)]).execute()
Setting.delete().where(Setting.name.startswith("n")).execute()
assert sorted(Setting.select(Setting.name, Setting.value).tuples()) == [("other", "5"), ("peewee", "3")]
print("ok")
