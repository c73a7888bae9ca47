"""The only reader of stdin and writer of stdout in a chat."""
