"""Python side of the data plane: API table, generator, build, process control."""
