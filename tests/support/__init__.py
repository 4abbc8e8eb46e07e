"""What tests share: the shim in each form, the host tool, engines, canaries."""
