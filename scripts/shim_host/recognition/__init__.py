"""What tells a secret: names, shapes of keys, and how a value may be written down."""
