"""The Fader SDK."""
