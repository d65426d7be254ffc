"""Processes of their own that follow servers."""
