"""What some tests need of the machine, and why."""

import os

import pytest

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can have workers run as other users"
)
