"""The reference stack's Python services: small programs that really run, each started by the shim."""
