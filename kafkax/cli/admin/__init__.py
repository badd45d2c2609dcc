"""Commands that ask a cluster or change it through the administration client."""
