"""Modules whose numbers are learned, lowered to operations."""
