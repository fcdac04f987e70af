"""Many runs laid side by side: read from their directories, as tables, and as a page."""
