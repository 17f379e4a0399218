"""What a network represents: features, probes, and the images that excite a unit."""
