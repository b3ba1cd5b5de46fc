"""An application that marks its file in the header, as a GeoPackage must.

Made after opengeospatial/geopackage#266 (`application_id` says what a file is, `user_version` which version): the mark is the
application's, and says nothing of whose database it is.
"""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
db.executescript(
    """PRAGMA application_id = 0x47504B47; PRAGMA user_version = 10400;
    CREATE TABLE gpkg_contents(table_name TEXT PRIMARY KEY, data_type TEXT);
    INSERT INTO gpkg_contents VALUES ('Setting', 'attributes'); INSERT INTO Setting(name, value) VALUES ('marked', '1')"""
)
print("ok")
