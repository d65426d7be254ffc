"""What the audience of the demo sees: the fader, all users, and what was done."""

from typing import Final, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from fader_cli.demonstration.shop import USERS, Shop
from fader_cli.session import Session

_ROW: Final = 60


class Stage:
    """What the audience sees.

    Args:
        session: Where to write.
        shop: What to show.
        live: Whether the picture moves; else each step is a line.
    """

    def __init__(self, session: Session, shop: Shop, *, live: bool) -> None:
        self._session = session
        self._shop = shop
        self._lines: list[tuple[str, str]] = []
        self._setting = 0.0
        self._is_on = False
        self._live = Live(console=session.out, get_renderable=self._picture, refresh_per_second=20) if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, command: str, outcome: str) -> None:
        """Add a line: what was done, and what came of it."""
        self._lines.append((command, outcome))
        if self._live is None:
            self._session.out.print(f"$ {command}\n  {outcome}" if command else outcome, highlight=False)

    def forget(self) -> None:
        """Begin with an empty page."""
        self._lines.clear()

    def set(self, percentage: float, *, is_on: bool) -> None:
        """Move the fader."""
        self._setting, self._is_on = percentage, is_on

    def _picture(self) -> RenderableType:
        seen = self._shop.sees_new
        state = "ON " if self._is_on else "OFF"
        filled = round(self._setting / 100 * 40) if self._is_on else 0
        bar = Text.assemble(
            (f"  {self._shop.flag} ", "bold"),
            (f"{state} ", "bold green" if self._is_on else "bold red"),
            ("█" * filled, "green"),
            ("░" * (40 - filled), "dim"),
            f" {self._setting if self._is_on else 0:g} %",
        )
        grid = Text()
        for begin in range(0, USERS, _ROW):
            grid.append("  ")
            for is_new, fails in zip(seen[begin : begin + _ROW], self._shop.fails[begin : begin + _ROW], strict=True):
                shown = ("✗", "bold red") if fails else ("●", "green") if is_new else ("·", "dim")
                grid.append(*shown)
            grid.append("\n")
        share = f"● has the feature: {self._shop.share:.1f} %   ✗ cannot pay: {sum(self._shop.fails)}"
        legend = Text(f"  {USERS} users of a shop, {self._shop.visits:,} visits; {share}\n", "dim")
        story = Text()
        for command, outcome in self._lines:
            if command:
                story.append(f"  $ {command}\n", "bold")
            story.append(f"    {outcome}\n" if command else f"  {outcome}\n", "" if command else "dim")
        return Group(Text(), bar, Text(), grid, legend, story)
