"""Every shipped file, learned again from opaque teachers."""
