"""A PyTorch program; prints the seconds its loop took."""

import sys
import time

import torch

N = 2048
ROUNDS = 50


def main() -> int:
    """Run the loop and compare with the CPU."""
    a = torch.randn(N, N, device="cuda")
    b = torch.randn(N, N, device="cuda")
    c = a @ b
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(ROUNDS):
        c = a @ b
    torch.cuda.synchronize()
    print(f"seconds {time.perf_counter() - start:.6f}")
    return 0 if torch.allclose(c.cpu(), a.cpu() @ b.cpu(), atol=1e-2) else 1


if __name__ == "__main__":
    sys.exit(main())
