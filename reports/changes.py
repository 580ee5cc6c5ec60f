"""What changed between two runs: the suspects that are printed above the verdicts."""

from __future__ import annotations

from typing import Any

MACHINE = {
    "cpu": "processor",
    "instructions": "instruction sets",
    "logical_cores": "cores",
    "memory_bytes": "memory",
    "governor": "governor",
    "system": "kernel",
    "python": "Python",
    "gpu": "GPU and driver",
    "git_commit": "commit",
}
MATMUL = 0.05
"""The fixed matrix product's speed is a suspect where it changed by more than this."""


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Compare two descriptions (`run.json`), and return one line a difference."""
    if not before:
        return []
    old, new = before.get("machine", {}), after.get("machine", {})
    lines = [
        f"{title}: {_short(old.get(name))} -> {_short(new.get(name))}"
        for name, title in MACHINE.items()
        if old.get(name) != new.get(name)
    ]
    lines += [
        f"{name}: {before[name]} -> {after.get(name)}"
        for name in ("threads", "profile", "pairs", "seconds", "workers")
        if name in before and before[name] != after.get(name)
    ]
    for kind in ("versions", "assets"):
        was, now = before.get(kind, {}), after.get(kind, {})
        lines += [
            f"{name}: {_short(was.get(name, 'none'))} -> {_short(now.get(name, 'none'))}"
            for name in sorted(was.keys() | now.keys())
            if was.get(name) != now.get(name)
        ]
    slow, fast = old.get("matmul_gflops"), new.get("matmul_gflops")
    if slow and fast and abs(fast / slow - 1) > MATMUL:
        how = "faster" if fast > slow else "slower"
        change = f"{abs(fast / slow - 1):.0%} {how}"
        lines.append(f"matrix product: {slow:g} -> {fast:g} GFLOP/s, {change}")
    return lines


def _short(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text[:12] if len(text) in (40, 64) and " " not in text else text
