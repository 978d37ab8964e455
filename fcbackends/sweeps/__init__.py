"""Many networks at once: what each is to be, where it is trained, and what is kept of it."""
