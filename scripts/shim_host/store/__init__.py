"""The secret files in `./secrets`."""
