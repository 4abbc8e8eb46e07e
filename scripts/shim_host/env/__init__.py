"""`.env` files, as Docker Compose reads them."""
