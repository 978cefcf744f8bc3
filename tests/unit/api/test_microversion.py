"""What the header OpenStack-API-Version may say."""

import pytest

from gpupool.api import microversion
from gpupool.model import errors


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("", "1.0"),
        (" ", "1.0"),
        ("gpu-pool 1.0", "1.0"),
        ("  GPU-Pool\t1.7 ", "1.7"),
        ("gpu-pool latest", microversion.MAX_VERSION),
        ("compute 2.90", "1.0"),
        ("compute whatever, gpu-pool 3.10,placement latest", "3.10"),
        ("gpu-pool 1.0,gpu-pool 1.0", "1.0"),
    ],
)
def test_versions(header, version):
    assert microversion.asked(header) == version


@pytest.mark.parametrize(
    "version",
    [
        *("1", "1.", ".1", "1.0.0", "v1.0", "1,0", "01.0", "1.00", "-1.0", "1.-1", "1_0.0", "0.1"),
        *("Latest", "1.0\x00", "1e3.0", "\u0661.\u0660", "9" * 400 + ".0"),
    ],
)
def test_what_is_no_version_is_refused(version):
    with pytest.raises(errors.Invalid, match="allowed: "):
        microversion.asked(f"gpu-pool {version}")


@pytest.mark.parametrize(
    "header", ["1.0", "gpu-pool", "gpu-pool 1.0 1.1", "gpu-pool 1.0,", ",", "gpu-pool=1.0", "compute"]
)
def test_what_names_no_service_and_version_is_refused(header):
    with pytest.raises(errors.Invalid, match="allowed: SERVICE VERSION, several with commas"):
        microversion.asked(header)
