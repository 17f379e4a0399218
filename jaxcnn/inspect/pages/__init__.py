"""Self-contained pages about a network, and about one image in it."""
