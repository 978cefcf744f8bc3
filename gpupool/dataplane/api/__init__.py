"""The parts of the API table."""
