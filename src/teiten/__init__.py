"""Teiten (定点): an Internet fixed-point observation system."""

__version__ = "0.1.0"
