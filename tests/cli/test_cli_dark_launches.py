"""How ``fader show`` tells what became of dark launches, by what a real SDK reports."""

from functools import partial
from operator import floordiv

import pytest

from command_line import Cli
from fader import Client
from fader.config import Timing
from fader_cli.dark_launches import dark_launch_sentences
from processes import ServerProcess, wait_for

LAUNCH = {
    "environment": "production",
    "compared": 2_412,
    "mismatched": 12,
    "candidate_raised": 3,
    "control_raised": 0,
    "dropped": 0,
    "control_ms": 30.0,
    "candidate_ms": 12.3,
}


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        (
            {},
            (
                "12 (0.50%) of 2,412 answers differ",
                "raised in 3 (0.12%)",
                "0.41 times as long (12.30 ms, and not 30.00)",
            ),
        ),
        ({"mismatched": 0, "candidate_raised": 0}, ("none of 2,412 answers differ", "the candidate raised in none")),
        ({"control_raised": 1}, ("the control alone in 1 (0.04%)",)),
        ({"dropped": 1_000}, ("1,000 did not run",)),
    ],
)
def test_words(changed: dict[str, int], parts: tuple[str, ...]) -> None:
    [sentence] = dark_launch_sentences({"dark_launches": [LAUNCH | changed]}, "production")
    for part in parts:
        assert part in sentence
    assert ("did not run" in sentence) == ("dropped" in changed)


def test_what_is_not_known_is_not_said() -> None:
    nothing = LAUNCH | {"compared": 0, "mismatched": 0, "candidate_raised": 0, "control_ms": None, "candidate_ms": None}
    [sentence] = dark_launch_sentences({"dark_launches": [nothing | {"dropped": 5}]}, "production")
    assert "5 did not run" in sentence
    assert "as long" not in sentence
    assert dark_launch_sentences({"dark_launches": [LAUNCH]}, "staging") == []
    assert dark_launch_sentences({}, "production") == []


def test_from_the_application_to_the_terminal(cli: Cli, server: ServerProcess) -> None:
    # Keys that SDKs report with belong to the project `default`.
    flag = "dark-search"
    cli.ok("create", flag, "-p", "default")
    cli.ok("on", flag, "-p", "default", "-e", "production")
    timing = Timing(usage_flush=0.1)
    with Client(url=server.url, sdk_key=server.sdk_key(), cache_dir=None, _timing=timing) as client:
        assert client.wait_until_ready()
        for number in range(20):  # together no more than may wait
            user, other = f"user-{number}", ["new", "old"][number > 3]
            assert client.dark_launch(flag, user, control=lambda: "old", candidate=partial(str, other)) == "old"
            assert client.dark_launch(flag, user, control=lambda: 1, candidate=partial(floordiv, number, number)) == 1

        def said() -> str | None:
            shown = cli.ok("show", flag, "-p", "default", "-e", "production")
            return shown if "of 40 answers" in shown else None

        shown = wait_for(said, "all calls to be reported")
    assert "4 (10.00%) of 40 answers differ" in shown
    assert "the candidate raised in 1 (2.50%)" in shown
    assert "times as long" in shown
    assert "on 40" in shown
    assert "dark compared" not in shown
    [told] = cli.json("show", flag, "-p", "default")["usage"]["dark_launches"]
    assert (told["environment"], told["compared"], told["control_raised"]) == ("production", 40, 0)
