"""The one database: engine, schema, migrations. Statements are executed by the guard alone."""
