"""The Fader flag server."""
