"""Probes: the image-text pairs over which an encoder's and an LLM's geometry are compared."""
