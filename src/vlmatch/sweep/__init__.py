"""What happens around a sweep: refusals and a check of its jobs before it, and one answer at its end."""
