"""What users of the service see while its parts are killed, cut off, slowed down and stopped."""
