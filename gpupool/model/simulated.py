"""What a simulated device can be cut into, as a device of seven slices is: for trying, and for tests."""

PRODUCT = "reference-7"
SLICES = 7
# Slices of each kind of part; a part may start at any slice from which it fits.
KINDS = {"1of7": 1, "2of7": 2, "3of7": 3, "4of7": 4, "7of7": 7}
