"""Attributions: what in an image a score depends on."""
