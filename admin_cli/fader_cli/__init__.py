"""The `fader` command."""
