"""A disk's write cache emptied, without a sync of any file that matters."""

JOURNALED: str
BARE: str
UNKNOWN: str

def kind_of(device: int) -> str:
    """The file system on a device (``st_dev``): ext4 with a journal for metadata alone, ext4 without one, or any other."""

def highest(directory: str) -> str:
    """The highest folder above the directory, or itself, that is on its file system."""
