"""Plain dataclasses, their states, and the errors. Imports nothing of ours."""
