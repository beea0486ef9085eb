"""Networks: image encoder, decoders, semantic alignment, pose network, and their weight files."""
