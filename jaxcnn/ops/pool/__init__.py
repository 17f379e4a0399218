"""Pooling: maxima with switches (`max`), sums (`sums`), the whole field or a fixed size (`field`)."""
