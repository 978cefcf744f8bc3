"""The plug-in of the `openstack` command: it adds ``gpu_pool`` to its clients."""

import argparse
import os
from typing import Any

from keystoneauth1 import adapter as ksa

from gpupool.client import rest

API_NAME = "gpu_pool"
API_VERSION_OPTION = "os_gpu_pool_api_version"
DEFAULT_API_VERSION = "1"
API_VERSIONS = ("1", rest.MICROVERSION)


def make_client(instance: Any) -> rest.Client:
    """Return the client for the command line's cloud; ``instance`` is its ClientManager."""
    version = instance._api_version[API_NAME]
    adapter = ksa.Adapter(
        session=instance.session,
        service_type=rest.SERVICE_TYPE,
        interface=instance.interface,
        region_name=instance.region_name,
        endpoint_override=instance.get_configuration().get("gpu_pool_endpoint_override"),
        default_microversion=version if "." in version else rest.MICROVERSION,
        client_name="gpupool",
    )
    return rest.Client(adapter)


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add this plug-in's options to those of `openstack`."""
    parser.add_argument(
        "--os-gpu-pool-api-version",
        metavar="<gpu-pool-api-version>",
        default=os.environ.get("OS_GPU_POOL_API_VERSION", DEFAULT_API_VERSION),
        help=f"GPU pool API version, default {DEFAULT_API_VERSION} (Env: OS_GPU_POOL_API_VERSION)",
    )
    return parser
