"""How each library is set up: one module each, for its own environment (see `rivals.program`)."""
