"""The scores, each of which computes one number by inference alone; a new score is one file here and one yaml."""
