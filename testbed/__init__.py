"""What tests and benches start, and imports neither: servers, an agent, simulated agents, kernels."""
