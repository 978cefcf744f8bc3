"""One per host: reports its devices and makes the host what the conductor wants it to be."""
