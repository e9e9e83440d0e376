"""Errors of the model side. Messages read ``where: found (expected or available), remedy``."""

from __future__ import annotations


class ModelError(Exception):
    """A preset, checkpoint, shape or value that the model cannot work with."""
