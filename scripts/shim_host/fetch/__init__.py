"""Values that a store's own program prints: what the schema asks for, whom that is believed, and how it is run."""
