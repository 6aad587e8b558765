"""Encoders: images to tokens and features, each with its own preprocessing; one yaml an encoder."""
