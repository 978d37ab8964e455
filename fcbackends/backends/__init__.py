"""One module a way to compute; each is imported when it is first asked for."""
