"""Devices as resource providers of Placement.

``providers`` writes inventories after the database, ``outbox`` keeps what is to be done there, ``flush``
does it, and ``audit`` compares the allocations of both sides.
"""
