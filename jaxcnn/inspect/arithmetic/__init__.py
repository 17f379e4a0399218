"""The arithmetic of convolution and pooling: matrices, windows, filters, counts."""
