"""Django on a device's tables: insert, update, upsert, RETURNING, inspectdb.

Made after django/django#14227 (INSERT ... RETURNING on SQLite 3.35 and later: defaults of the database must come back).
"""
import io
import sys

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1], "OPTIONS": {"timeout": 5}}},
    INSTALLED_APPS=[],
    USE_TZ=True,
)
django.setup()
from django.core.management import call_command
from django.db import connection, models


class Setting(models.Model):
    """As inspectdb gives it, less what is computed."""

    row = models.AutoField(primary_key=True, db_column="_id")
    name = models.TextField(unique=True)
    value = models.TextField(null=True)

    class Meta:
        app_label = "field"
        managed = False
        db_table = "Setting"


one = Setting.objects.create(name="django", value="1")
assert one.row and Setting.objects.get(name="django").value == "1"
one.value = "2"
one.save()
Setting.objects.filter(name="django").update(value="3")
assert Setting.objects.get(pk=one.row).value == "3"
# Upsert by the unique name, and the other way of it.
if django.VERSION >= (4, 1):
    Setting.objects.bulk_create(
        [Setting(name="django", value="4"), Setting(name="other", value="5")],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["value"],
    )
else:
    Setting.objects.bulk_create([Setting(name="django", value="0")], ignore_conflicts=True)
    Setting.objects.update_or_create(name="django", defaults={"value": "4"})
    Setting.objects.bulk_create([Setting(name="other", value="5")])
again, made = Setting.objects.update_or_create(name="other", defaults={"value": "6"})
assert not made and again.value == "6"
Setting.objects.get_or_create(name="third", defaults={"value": "7"})
Setting.objects.filter(name="third").delete()
assert sorted(Setting.objects.values_list("name", "value")) == [("django", "4"), ("other", "6")]

out = io.StringIO()
call_command("inspectdb", "Setting", stdout=out)
assert "class Setting(models.Model)" in out.getvalue() and "name = " in out.getvalue(), out.getvalue()
with connection.cursor() as cursor:
    names = connection.introspection.table_names(cursor, include_views=True)
assert "_status" in names and "Setting" in names
print("ok")
