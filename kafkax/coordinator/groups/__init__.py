"""Consumer groups: the classic protocol, the consumer protocol of KIP-848, and the way between them."""
