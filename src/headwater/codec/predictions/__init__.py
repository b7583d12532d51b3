"""Predictions: formulas that compute a tensor's bytes from other tensors' bytes."""
