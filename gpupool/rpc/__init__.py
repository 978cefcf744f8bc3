"""Messages between services: transport, and the two interfaces with their client and server ends."""
