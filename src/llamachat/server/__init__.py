"""The launcher of the engine process."""
