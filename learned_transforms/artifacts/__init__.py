"""What is shipped: files of weights, what may stand in them, and in words what a pipeline is."""
