"""Devices as resource providers of Placement.

``inventory`` writes them after the database, ``outbox`` keeps what is to be done there, and
``flush`` does it.
"""
