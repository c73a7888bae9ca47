"""Transcripts in SQLite."""
