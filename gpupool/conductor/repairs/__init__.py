"""Finds and repairs what a crash or a hand has left: ``reconciler``, and ``audit`` for allocations."""
