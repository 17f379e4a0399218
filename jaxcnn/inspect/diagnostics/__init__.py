"""Whether a network can be trusted: calibration, mistakes, shifts."""
