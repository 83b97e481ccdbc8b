"""What torchvision's transforms and those of clients draw, and which layers they are."""
