"""Alembic's autogenerate on a device's file: without a filter it proposes to drop every table of the agent's; with the one of
docs/orm.md it sees the application's own alone.

Made after sqlalchemy/alembic#596 (it dropped several tables that do not belong to the application).
"""
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, text

MODELS = {"Telemetry", "Setting", "Command", "Thing", "Scratch"}


def include_object(object, name, type_, reflected, compare_to):
    return not (type_ == "table" and (name.startswith(("_", "sqlite_")) or name in MODELS))


engine = create_engine(f"sqlite:///{sys.argv[1]}", connect_args={"timeout": 5})
own = MetaData()
Table("mine", own, Column("id", Integer, primary_key=True), Column("note", Text))
with engine.begin() as db:
    db.execute(text("CREATE TABLE mine(id INTEGER PRIMARY KEY NOT NULL)"))
with engine.connect() as db:
    careless = compare_metadata(MigrationContext.configure(db), own)
    dropped = {change[1].name for change in careless if change[0] == "remove_table"}
    assert {"_outbox", "_sync_items", "Setting"} <= dropped, dropped
    found = compare_metadata(MigrationContext.configure(db, opts={"include_object": include_object}), own)
    assert [change[0] for change in found] == ["add_column"], found
with engine.begin() as db:
    own.create_all(db)
    db.execute(text("INSERT INTO Setting(name, value) VALUES ('autogenerate', '1')"))
print("ok")
