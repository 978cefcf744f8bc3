"""What the demo runs: programs that know CUDA's driver API and nothing of gpupool."""
