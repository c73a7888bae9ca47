"""Pure values and functions: no IO, no third-party imports."""
