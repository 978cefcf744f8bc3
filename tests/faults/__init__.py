"""The fault run: every service as processes of its own, broken in turn and at once, by a seed.

``python -m tests.faults --help``; see the page on testing. It needs RabbitMQ, MariaDB and gcc.
"""
