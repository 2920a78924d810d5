"""Where in a crop a feature is active."""
