"""Bundles: repos as one verifiable file, for places without a network."""
