"""The commands, a module for each group of them. Each says in ``COMMANDS`` what it adds to the program."""
