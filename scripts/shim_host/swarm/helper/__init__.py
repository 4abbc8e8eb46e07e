"""Helper tasks, which live as long as a question: they read values back, or speak to a system on another node."""
