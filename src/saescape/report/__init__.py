"""A page about every feature, in one HTML file."""
