"""What the program ``fader-server`` can do, one module a command: each is told the settings and its own arguments, and
returns the exit code."""
