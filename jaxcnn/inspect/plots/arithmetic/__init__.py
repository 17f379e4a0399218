"""Figures of the arithmetic of convolution and pooling."""
