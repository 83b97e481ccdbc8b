"""How the size of an answer follows that of its input."""
