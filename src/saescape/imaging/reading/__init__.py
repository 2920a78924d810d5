"""Open images and label images, whatever holds them, and read only the part that is asked for."""
