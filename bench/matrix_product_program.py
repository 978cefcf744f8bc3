"""The program that bench/matrix_product.py measures; it knows nothing of gpupool.

``matrix_product_program.py KERNELS SIZE PRODUCTS``: says when it is ready, then, for each line it
reads, multiplies and says how long that took. Exits with an error when a product is not NumPy's.
"""

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import driver as cu


def check(answer: tuple[Any, ...]) -> Any:
    """Return what a call gave back."""
    if answer[0] != cu.CUresult.CUDA_SUCCESS:
        raise SystemExit(answer[0].name)
    return answer[1] if len(answer) == 2 else None


def main() -> None:
    """Set up, multiply when told to."""
    image, n, products = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), int(sys.argv[3])
    check(cu.cuInit(0))
    check(cu.cuCtxSetCurrent(check(cu.cuDevicePrimaryCtxRetain(check(cu.cuDeviceGet(0))))))
    function = check(cu.cuModuleGetFunction(check(cu.cuModuleLoadData(image)), b"matmul"))
    rng = np.random.default_rng(1)
    a, b = (rng.random((n, n), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    left, right, product = (check(cu.cuMemAlloc(a.nbytes)) for _ in range(3))
    types = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    values = ((int(left), int(right), int(product), n), types)
    blocks = (n + 15) // 16

    def multiply() -> None:
        check(cu.cuMemcpyHtoD(left, a.ctypes.data, a.nbytes))
        check(cu.cuMemcpyHtoD(right, b.ctypes.data, b.nbytes))
        check(cu.cuLaunchKernel(function, blocks, blocks, 1, 16, 16, 1, 0, 0, values, 0))
        check(cu.cuMemcpyDtoH(out.ctypes.data, product, out.nbytes))

    multiply()
    print(json.dumps({"ready": 1}), flush=True)
    for _ in sys.stdin:
        begun = time.monotonic()
        for _ in range(products):
            multiply()
        print(json.dumps({"seconds": time.monotonic() - begun}), flush=True)
    if not np.allclose(out, a @ b, rtol=1e-4):
        raise SystemExit("the product is not NumPy's")


if __name__ == "__main__":
    main()
