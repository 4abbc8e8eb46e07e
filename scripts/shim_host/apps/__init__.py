"""What other programs get from us: Docker's command line, Compose, and the code of an application."""
