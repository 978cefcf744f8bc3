"""The names of traits."""

from gpupool.model import traits
from gpupool.model.device import SharingMode


def test_traits_hold_only_what_placement_takes():
    assert traits.trait("cuda", "12.4") == "CUSTOM_GPUPOOL_CUDA_12_4"
    assert traits.trait("ÄÖ gpu-(x)") == "CUSTOM_GPUPOOL_GPU_X"
    assert len(traits.trait("x" * 300)) == 255


def test_a_product_that_repeats_its_vendor_says_it_once():
    assert traits.common("NVIDIA", "NVIDIA H200", SharingMode.SHARED) == (
        "CUSTOM_GPUPOOL_NVIDIA_H200",
        "CUSTOM_GPUPOOL_MODE_SHARED",
    )
