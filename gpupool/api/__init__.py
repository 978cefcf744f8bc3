"""The REST API: Pecan controllers, one noun per file."""
