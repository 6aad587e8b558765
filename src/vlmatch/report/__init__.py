"""Report: the ranking in the terminal, as a table, and as one self-contained page."""
