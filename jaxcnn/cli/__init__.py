"""The command line: `jaxcnn`, or `python -m jaxcnn`."""

from jaxcnn.cli.main import main

__all__ = [
    "main",
]
