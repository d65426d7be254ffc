"""The demo: a server, a shop, and two acts."""
