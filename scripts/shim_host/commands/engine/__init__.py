"""What brings the tool into an engine: the image, the plugin of Docker, the provider of Compose."""
