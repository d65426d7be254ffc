"""One module a step, each saying what it does to the schema in its own words: they must not import the
schema, which moves on while they stay. Steps only ever add (expand); what nobody uses any more goes a release
later (contract)."""
