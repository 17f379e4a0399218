"""Pooling.

It has maxima with switches (`max`), sums (`sums`), and pools over all cells or to a fixed size (`field`).
"""
