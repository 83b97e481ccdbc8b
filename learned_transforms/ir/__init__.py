"""A program is a list of operations on pixels; here is what each means, and what several come to."""
