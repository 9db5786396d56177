"""Procrastinate tasks (filled below)."""
