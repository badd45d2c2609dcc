"""What a leader knows of the replicas that follow it; for the core only."""
