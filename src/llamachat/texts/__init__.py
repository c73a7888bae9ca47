"""Text from files of any kind, and what is inside an answer."""
