"""Two-by-two tables, with Wilson's interval for each share."""

from __future__ import annotations

import math
from collections import Counter

from place import AMBER, GREEN, RED, Result

Z = 1.959964  # 95 %


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return Wilson's score interval of a share; (0, 1) of nothing."""
    if not of:
        return 0.0, 1.0
    share = hits / of
    middle = share + Z * Z / (2 * of)
    half = Z * math.sqrt(share * (1 - share) / of + Z * Z / (4 * of * of))
    below = 1 + Z * Z / of
    return max(0.0, (middle - half) / below), min(1.0, (middle + half) / below)


def tables(results: list[Result]) -> str:
    """Return what is printed."""
    parts = [_table("all agents", results)]
    agents = sorted({result.case.agent for result in results})
    parts += [_table(agent, [each for each in results if each.case.agent == agent]) for agent in agents]
    wrong = [result for result in results if not result.right]
    parts += [f"not as it was: {r.case} done={r.done} -> {r.execution}/{r.outcome}: {r.why}" for r in wrong]
    return "\n".join(parts)


def _table(title: str, results: list[Result]) -> str:
    done = [result for result in results if result.done]
    idle = [result for result in results if not result.done]
    lines = [f"{title}: {len(results)} cases, the work was there in {len(done)}", ""]
    lines.append(f"  {'':12} {'work done':^24} {'work not done':^24}")
    lines.append(
        f"  {'':12} {GREEN:>7} {AMBER:>7} {RED:>7}  {GREEN:>8} {AMBER:>7} {RED:>7}   false green        false red"
    )
    for judge in ("exit code", "own JSON", "tickover"):
        good = Counter(result.colours[judge] for result in done)
        bad = Counter(result.colours[judge] for result in idle)
        shares = f"{_share(bad[GREEN], len(idle))}  {_share(good[RED], len(done))}"
        cells = f"{good[GREEN]:7} {good[AMBER]:7} {good[RED]:7}  {bad[GREEN]:8} {bad[AMBER]:7} {bad[RED]:7}"
        lines.append(f"  {judge:12} {cells}   {shares}")
    amber = sum(result.colours["tickover"] == AMBER for result in results)
    lines += ["", f"  left unverified: {_share(amber, len(results))}", ""]
    return "\n".join(lines)


def _share(hits: int, of: int) -> str:
    low, high = wilson(hits, of)
    return f"{hits / of if of else 0:4.0%} [{low:.1%}, {high:.1%}]"
