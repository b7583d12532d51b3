"""The only way out: which addresses the hub may connect to, and how it does."""
