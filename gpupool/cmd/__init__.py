"""Entry points, one small file each."""
