"""What a trained network holds and does."""
__all__ = []
