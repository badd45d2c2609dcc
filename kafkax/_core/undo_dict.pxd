"""A dict that notes what it held before."""
