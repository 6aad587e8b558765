"""Training of the small encoders: their data, their objectives, and how their weights are kept."""
