"""A sweep: many runs of one command, known by what they run, so that a sweep that was killed goes on where it was."""
