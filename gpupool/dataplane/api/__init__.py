"""Device APIs as tables: the form of their entries, and one package for each API."""
