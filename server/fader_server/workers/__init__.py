"""Several processes that are one node, so that it uses all cores: a small parent that supervises and relays, and
workers that serve.

:mod:`supervisor` and :mod:`hub` run in the parent, which knows nothing of flags or databases; :mod:`link` is a worker's
end. What they say to each other is in :mod:`frames`.
"""
