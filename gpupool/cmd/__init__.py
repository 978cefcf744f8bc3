"""Entry points, one small file each.

oslo.service chooses eventlet unless it is told otherwise before anything imports its parts, as
oslo.messaging does; so every entry point comes through here first.
"""

import warnings

from oslo_service import backend

# Nothing here uses eventlet; libraries that only look whether it is installed make it complain.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
backend.init_backend(backend.BackendType.THREADING)
