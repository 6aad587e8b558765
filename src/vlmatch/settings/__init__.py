"""Settings with types: what a yaml or a saved VLM says, checked once, as values with attributes."""
