"""The database: models, migrations, and queries, one noun per file."""
