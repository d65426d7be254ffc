"""Carrying ramps out: commands on them, the one server that leads, what it does each second, and what applications
report to it."""
