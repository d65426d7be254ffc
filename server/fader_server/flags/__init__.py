"""What may be done to flags, segments, environments and projects, and what must hold afterwards.

Everything that decides is a pure function on frozen values (``edits``, ``validation``, ``definitions``,
``references``); the services around it load, decide, write and announce, each command in one transaction.
"""
