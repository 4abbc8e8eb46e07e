"""How an engine is reached: through its socket, over TLS or ssh, and what is said when it is not."""
