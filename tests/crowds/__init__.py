"""Programs that tests and measurements run beside themselves: each carries out an order a line, and answers in JSON."""
