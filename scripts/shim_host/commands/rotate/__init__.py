"""What moves services from one version of a secret to another: rotate, rollback, sync, adopt."""
