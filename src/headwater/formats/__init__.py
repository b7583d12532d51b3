"""Formats: bytes <-> structure, pure and bounded. No files, no network, no clock."""
