"""Drawings of objects that were found."""
