"""Writes what the API table yields: C, documentation. Standard library only."""
