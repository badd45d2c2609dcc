"""Kafka's wire protocol and record format for Python callers: messages, headers, batches, compression."""
