"""The page in a browser: another face of `llamachat.chat`, on the same conversations."""
