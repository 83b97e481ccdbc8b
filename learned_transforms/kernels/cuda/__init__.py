"""Programs on a GPU: which launches they are, and how those are compiled."""
