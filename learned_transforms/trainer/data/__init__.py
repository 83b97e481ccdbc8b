"""Where inputs and answers come from."""
