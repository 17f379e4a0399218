"""What a network represents.

It gives features, probes, and the images that excite a unit.
"""
