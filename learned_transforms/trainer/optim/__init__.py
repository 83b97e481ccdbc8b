"""Gradient descent with early stopping, checkpoints, and numbers made exact."""
