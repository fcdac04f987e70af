"""A sweep: many runs of one command, identified by what they run, so that a killed sweep can continue."""
