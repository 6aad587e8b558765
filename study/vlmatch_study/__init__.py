"""The study, which makes this project's own evidence. The package vlmatch never imports it."""
