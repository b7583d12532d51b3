"""Headwater: a self-hosted hub for AI model weights that speaks the Hugging Face protocol."""

__version__ = "0.1.0"
