"""The scores: one number each, by inference alone, behind one protocol; a new score is one file here and one yaml."""
