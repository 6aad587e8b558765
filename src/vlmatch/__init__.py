"""vlmatch: choose the vision encoder before you train the vision-language model."""

__version__ = "0.1.0"
