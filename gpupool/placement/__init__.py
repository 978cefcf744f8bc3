"""The Placement client and the provider tree, on a real Placement always."""
