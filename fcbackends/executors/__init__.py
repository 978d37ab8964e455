"""Work handed out to whatever has `submit`: who did it, what came of it, what is tried again."""
