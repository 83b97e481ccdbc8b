"""Containers of pixels: PIL images, tensors and arrays come in as one form, and go out as they came."""
