"""Django's `makemigrations` and `migrate` on a device's file, with an application's own model and one of the agent's that is
`managed = False`: what is not managed is left alone, triggers and all, while Django copies a table of its own.

Made after sqlalchemy/alembic#596 (a migration tool dropped tables that do not belong to the application).
"""
import pathlib
import sys
import tempfile

import django
from django.conf import settings

folder = tempfile.TemporaryDirectory()
app = pathlib.Path(folder.name, "mineapp")
(app / "migrations").mkdir(parents=True)
(app / "__init__.py").touch()
(app / "migrations" / "__init__.py").touch()
MODELS = """
from django.db import models

class Mine(models.Model):
    note = models.TextField({note})

class Setting(models.Model):
    row = models.AutoField(primary_key=True, db_column="_id")
    name = models.TextField(unique=True)
    {more}

    class Meta:
        managed = False
        db_table = "Setting"
"""
sys.path.insert(0, folder.name)
sys.dont_write_bytecode = True
step = sys.argv[2] if len(sys.argv) > 2 else None
if step is None:
    # Each state of the models in a process of its own: Django keeps what it has loaded.
    import subprocess

    for note, more in (("null=True", ""), ('default="x"', "value = models.TextField(null=True)")):
        (app / "models.py").write_text(MODELS.format(note=note, more=more))
        subprocess.run([sys.executable, __file__, sys.argv[1], folder.name], check=True)
    sys.exit(print("ok"))

sys.path.insert(0, step)
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1], "OPTIONS": {"timeout": 5}}},
    INSTALLED_APPS=["mineapp"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_TZ=True,
)
django.setup()
from django.core.management import call_command
from django.db import connection


def objects():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE '!_%' ESCAPE '!' OR tbl_name = 'Setting' ORDER BY name")
        return cursor.fetchall()


before = objects()
call_command("makemigrations", "mineapp", verbosity=0, interactive=False)
call_command("migrate", "mineapp", verbosity=0)
assert objects() == before and before
with connection.cursor() as cursor:
    cursor.execute("INSERT INTO mineapp_mine(note) VALUES ('n')")
    cursor.execute("INSERT INTO Setting(name, value) VALUES ('migrated', '1') ON CONFLICT(name) DO UPDATE SET value = '2'")
