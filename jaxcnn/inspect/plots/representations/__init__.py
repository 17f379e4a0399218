"""Figures of what a network represents."""
