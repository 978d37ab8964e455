"""Performance reports: saved benchmark runs, summarised, compared, and shown.

A run is read (`runs`), reduced to what is said about it (`summary`, `comparison`) or taken on the
spot (`interleave`), laid out (`layout`), and written as terminal text, Markdown or HTML.
"""
