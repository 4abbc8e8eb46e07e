"""A new value everywhere with no failed request."""
