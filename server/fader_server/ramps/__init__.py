"""Ramps: plans that bring a flag up in steps, and bring it down by themselves when it does harm.

What is decided is decided by values alone: a ``plan`` and the ``progress`` until now, with what guards have found
since (``evidence``, ``sample_ratio``, ``verdicts``), give the next of its ``moves``.
"""
