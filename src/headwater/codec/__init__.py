"""Codec: bytes to fewer bytes and back, exact, pure. Floor 1."""
