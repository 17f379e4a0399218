"""Figures that tell whether a network can be trusted."""
