"""The command line."""

from mull.cli.main import main

__all__ = ["main"]
