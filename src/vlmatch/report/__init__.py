"""Report: the ranking in words, tables, plots and one self-contained page."""
