"""gpupool pools the accelerators of an OpenStack cloud."""
