"""Files whatever is in them: written whole or not at all, archives that are what they claim, the user's cache."""
