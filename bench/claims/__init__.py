"""What ``bench/claim_to_bound.py`` is made of; each process that it starts is one module."""
