"""The whole of gpupool in one process, as ``gpupool-standalone`` runs it."""
