"""Devices as resource providers of Placement.

``providers`` writes inventories after the database, ``outbox`` keeps what is to be done there, and
``flush`` does it.
"""
