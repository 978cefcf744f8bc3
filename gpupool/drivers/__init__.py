"""What the agent knows of kinds of devices, one driver per file."""
