"""JSON Schemas (Draft 2020-12) of every body and query string, one noun per file."""
