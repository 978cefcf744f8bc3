"""A Numba-CUDA program; prints the seconds its loop took."""

import sys
import time

import numpy as np
from numba import cuda

N = 1 << 20
ROUNDS = 200


@cuda.jit
def add(x, y):
    """Add x to y."""
    i = cuda.grid(1)
    if i < x.size:
        y[i] += x[i]


def main() -> int:
    """Run the loop and compare with NumPy."""
    x = cuda.to_device(np.ones(N, np.float32))
    y = cuda.to_device(np.zeros(N, np.float32))
    add[N // 256, 256](x, y)
    cuda.synchronize()
    start = time.perf_counter()
    for _ in range(ROUNDS):
        add[N // 256, 256](x, y)
    cuda.synchronize()
    print(f"seconds {time.perf_counter() - start:.6f}")
    return 0 if np.allclose(y.copy_to_host(), 1.0 + ROUNDS) else 1


if __name__ == "__main__":
    sys.exit(main())
