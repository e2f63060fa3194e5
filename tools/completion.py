"""`dragon completion SHELL`: prints the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    Put its line into ~/.bashrc, into ~/.zshrc behind compinit, or into ~/.config/fish/config.fish.

    \b
    bash:  eval "$(dragon completion bash)"
    zsh:   eval "$(dragon completion zsh)"
    fish:  dragon completion fish | source
    """
    from dragon.tools.main import cli

    cls = get_completion_class(shell)
    if cls is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(cls(cli, {}, "dragon", "_DRAGON_COMPLETE").source())
