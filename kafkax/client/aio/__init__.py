"""Clients for asyncio, on any event loop: sockets, heartbeats and retries stay on the client's own thread."""
