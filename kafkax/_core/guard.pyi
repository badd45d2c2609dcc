"""Access to mapped files whose pages may be out of reach; nothing of it is for Python."""
