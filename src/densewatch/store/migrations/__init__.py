"""Steps from an older database to the newest tables, by Alembic."""
