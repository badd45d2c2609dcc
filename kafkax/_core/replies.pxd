"""Answers as they mostly are, read without an object for every field."""
