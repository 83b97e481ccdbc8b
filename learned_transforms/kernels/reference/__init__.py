"""Every operation in plain torch: what all backends are held to."""
