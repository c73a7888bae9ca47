"""What `llamachat doctor` checks. Each check returns findings, and none raises."""
