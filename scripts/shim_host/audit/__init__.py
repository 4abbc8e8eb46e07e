"""Who can read which secret, and what is wrong with that."""
