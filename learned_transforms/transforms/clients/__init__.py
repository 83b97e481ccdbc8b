"""Classes and functions of other projects that learned layers stand for; no client is imported."""
