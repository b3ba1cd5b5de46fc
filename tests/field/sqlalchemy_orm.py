"""SQLAlchemy on a device's tables: reflection of STRICT tables with computed columns, insert, update, upsert, RETURNING.

Made after sqlalchemy/sqlalchemy#11582 (reflection of GENERATED ALWAYS AS on SQLite), #13543 (reflection drops STRICT, so a
table that is made anew from it is another one) and #6195 (RETURNING on SQLite).
"""
import sys

from sqlalchemy import MetaData, Table, create_engine, inspect, select, text
from sqlalchemy.dialects.sqlite import insert

engine = create_engine(f"sqlite:///{sys.argv[1]}", connect_args={"timeout": 5})
seen = inspect(engine)
assert "Setting" in seen.get_table_names() and "_status" in seen.get_view_names()
columns = {column["name"] for column in seen.get_columns("Setting")}
assert {"_id", "name", "value", "pk", "sk"} <= columns, columns

# What is computed can't be written: leave it out of what is mapped.
setting = Table("Setting", MetaData(), autoload_with=engine, include_columns=["_id", "name", "value", "updated"])
with engine.begin() as db:
    db.execute(setting.insert().values(name="alchemy", value="1"))
    db.execute(setting.update().where(setting.c.name == "alchemy").values(value="2"))
    upsert = insert(setting).values(name="alchemy", value="3")
    db.execute(upsert.on_conflict_do_update(index_elements=["name"], set_={"value": upsert.excluded.value}))
    db.execute(insert(setting).values(name="alchemy", value="4").on_conflict_do_nothing())
    row = db.execute(
        text("INSERT INTO Setting(name, value) VALUES ('returned', 'v') RETURNING _id, name, created")
    ).one()
    assert row[0] and row[1] == "returned" and row[2], row
    db.execute(setting.delete().where(setting.c.name == "returned"))
with engine.connect() as db:
    assert db.execute(select(setting.c.name, setting.c.value)).all() == [("alchemy", "3")]
    assert db.execute(text("SELECT count(*) FROM _pending")).scalar() >= 1
print("ok")
