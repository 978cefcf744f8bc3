"""Where the package keeps what its build made of native/."""

from pathlib import Path

LIB = Path(__file__).parent / "lib"
# What a program is given in place of the vendor's libcuda.
RUNTIME = LIB / "runtime" / "libcuda.so.1"
# The reference device (D6): a simulation on the CPU.
REFERENCE = LIB / "refcuda" / "libcuda.so.1"
WORKER = LIB / "gpupool-worker"
# Says which libcuda a program finds and which attachments.
DOCTOR = LIB / "gpupool-doctor"
# Headers a kernel for the reference device is compiled with.
REFERENCE_INCLUDE = Path(__file__).parent / "native" / "refcuda" / "include"
