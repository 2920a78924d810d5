"""Contrastive training of a small convolutional network on crops (arrays and tensors only)."""
