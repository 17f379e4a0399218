"""Finds objects in pictures, and judges what was found."""
