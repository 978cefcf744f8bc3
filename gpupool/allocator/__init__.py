"""Pure functions over arrays: which devices a claim gets. No I/O."""
