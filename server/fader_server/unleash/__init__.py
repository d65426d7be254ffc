"""What comes in through the Unleash door: Unleash's own format, and its translation into flags and segments.

Pure functions over values, without I/O: the import from Unleash and the API that Unleash's SDKs speak both
build on them. What cannot be carried over exactly is never dropped in silence: it comes back as notes, each
with its path.
"""
