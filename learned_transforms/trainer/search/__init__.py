"""Families of layers, tried on a problem."""
