"""``completion``: the script that makes a shell complete commands, flags and environments."""

from typing import Final

import click
from click.shell_completion import get_completion_class

_SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Write the completion script of a shell.

    \b
    bash:  eval "$(fader completion bash)"  in ~/.bashrc
    zsh:   eval "$(fader completion zsh)"   in ~/.zshrc
    fish:  fader completion fish > ~/.config/fish/completions/fader.fish
    """
    kind = get_completion_class(shell)
    if kind is None:  # the choice above holds only shells that click knows
        raise click.UsageError(f"there is no completion for {shell}", context)
    click.echo(kind(context.find_root().command, {}, "fader", "_FADER_COMPLETE").source())


COMMANDS: Final = (completion,)
