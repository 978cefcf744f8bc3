"""Replays of traces and recordings through the allocator and the queue, on a simulated clock."""
