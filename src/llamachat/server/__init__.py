"""The launcher: the child's command line and environment (pure), and its life from start to stop."""
