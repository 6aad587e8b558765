"""What each way of spending trainings would have lost, on committed results: `python -m vlmatch_study.search`."""
