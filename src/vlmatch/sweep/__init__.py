"""What happens around a sweep: what is refused before it, a look through its jobs, and one answer at its end."""
