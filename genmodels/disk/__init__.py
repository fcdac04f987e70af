"""Files in general: atomic writes, checked archives, strict JSON, the user's cache."""
