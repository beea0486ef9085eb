"""What ships: a network and an image in, depth out. Needs no data, losses or evaluation."""
