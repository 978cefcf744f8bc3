"""The database: models, migrations and queries, one noun per file. Imports model and conf only.

Every query takes the SQLAlchemy session of a transaction that ``api.Database`` opened, and takes and
returns the dataclasses of ``gpupool.model``; nothing of SQLAlchemy's leaves this package.
"""
