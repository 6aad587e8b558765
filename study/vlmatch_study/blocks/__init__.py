"""The blocks of further trainings: what each one plans, its results, and its encoders as a world to replay in."""
