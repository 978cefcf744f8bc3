"""What the agent and a driver's process say to each other: see child."""

# Bytes of one packet, at most.
PACKET_MAX = 65536


class VendorError(Exception):
    """What the vendor's library said instead of an answer, in words for operators."""
