"""Ways to compute: the record that a backend is, the registry, and one module a library."""
