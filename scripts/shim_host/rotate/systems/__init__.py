"""The systems that `@rotate-with` knows, one per file."""
