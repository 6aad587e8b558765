"""Tasks of the study, which the command line finds by the yamls in study/conf/task."""
