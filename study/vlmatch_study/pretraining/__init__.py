"""Small encoders trained here, on the share of the split that is theirs: objectives, their data, and what is kept."""
