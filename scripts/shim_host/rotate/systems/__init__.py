"""The systems that `@rotate-with` knows, one a file."""
