"""Pooling: maxima with switches (`max`), sums (`sums`), and over all cells or to a fixed size (`field`)."""
