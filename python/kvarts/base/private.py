"""Files and directories that only their owner may read, whatever the umask: the mode is there from the first moment."""

import os

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def open_private(path: str | os.PathLike[str], *, append: bool = False) -> int:
    """Make a file and return its descriptor, for writing. With `append` one that is there is gone on with.

    A link is not followed. Raises OSError.
    """
    kept = os.O_APPEND if append else os.O_EXCL
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | kept, FILE_MODE)
    # A umask can only have taken from the owner: nobody else had it in between.
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


def make_private_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory; one that is there stays as it is. Raises OSError."""
    try:
        os.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    else:
        os.chmod(path, DIRECTORY_MODE)
