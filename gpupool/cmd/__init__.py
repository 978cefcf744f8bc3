"""Entry points, one small file each.

oslo.service chooses eventlet unless it is told otherwise before anything imports its parts, as
oslo.messaging does; so every entry point comes through here first.
"""

from oslo_service import backend

backend.init_backend(backend.BackendType.THREADING)
