"""Which transforms run as one, and how an image goes through them."""
