"""Real databases for tests: started by an ordinary user or by root, from binaries that pip has installed."""
