"""What a Linux control group, and so a container, leaves to this process."""

from dataclasses import dataclass
from pathlib import Path

# Limits from here on mean "no limit": version 1 writes the largest number of whole pages.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class _Layout:
    """Where one version of control groups keeps its figures, below a group's folder."""

    root: Path
    marker: str
    limit: str
    used: str
    cache: str


def _layouts(root: Path) -> tuple[_Layout, ...]:
    version_2 = _Layout(root, "0::", "memory.max", "memory.current", "inactive_file")
    version_1 = _Layout(
        root / "memory",
        ":memory:",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    )
    return version_2, version_1


def free_memory_bytes(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Return how much memory the control groups of this process leave; None: no limit.

    The files are described in the kernel's ``cgroup-v2.rst`` and ``cgroup-v1/memory.rst``. File
    cache that can be dropped counts as free. A limit of any parent group counts.

    Parameters
    ----------
    root, membership : Path
        Where the control groups are mounted, and the file that tells those of this process.
    """
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    frees = []
    for layout in _layouts(root):
        for line in lines:
            if layout.marker in line:
                own = layout.root / line.partition(layout.marker)[2].lstrip("/")
                groups = [own, *own.parents]
                frees += [
                    free
                    for group in groups
                    if group.is_relative_to(layout.root)
                    and (free := _free(group, layout)) is not None
                ]
    return min(frees, default=None)


def _free(group: Path, layout: _Layout) -> int | None:
    """Return what one group leaves; None where it sets no limit."""
    try:
        limit = (group / layout.limit).read_text(encoding="ascii").strip()
        if limit == "max" or int(limit) >= _NO_LIMIT:
            return None
        used = int((group / layout.used).read_text(encoding="ascii"))
        stat = (group / "memory.stat").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    cache = int(stat[stat.index(layout.cache) + 1]) if layout.cache in stat else 0
    return max(0, int(limit) - used + cache)
