"""Hosts as their agents report them, and what the operator and the conductor want of them.

A report enters at ``signed_reports``, is checked by ``report_validation``, written by ``reports``, and
answered with what the host should have. ``report_cache`` answers a report without news from memory.
"""
