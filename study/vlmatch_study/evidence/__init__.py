"""The worlds of evidence that the study has, and the record that it makes of them."""
