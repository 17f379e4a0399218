"""Normalization: over the batch (`batch`, `masked`), and over neighboring channels (`lrn`)."""
