"""cdkit demo: a page on this machine on which one types a prompt and sees the picture form."""

from __future__ import annotations

import secrets
import webbrowser
from importlib.util import find_spec

import click
from cdkit.hooks import hookimpl

HOME = "127.0.0.1"  # nobody else's machine is asked to listen, and there is no option to make it


@click.command("demo")
@click.argument("runs", nargs=-1)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen on 127.0.0.1; any free port by default.")
@click.option("--device", help="cpu, cuda, cuda:1 …; the best there is by default.")
@click.option("--open/--no-open", "opens", default=True, show_default=True, help="Open the page in this machine's browser.")
def demo(runs: tuple[str, ...], port: int, device: str | None, opens: bool) -> None:
    """Type a prompt and see the picture form, by RUNS side by side: run folders, or models that ship (animals).

    The page is served to this machine alone, at an address with a secret that is new every time. Ctrl-C ends it.
    """
    check_extra()
    from cdkit_page.models import loaded
    from cdkit_page.serve import listening, serve

    models = loaded(runs or ("animals",), device)
    with listening(HOME, port) as socket:
        token = secrets.token_urlsafe(32)
        address = f"http://{HOME}:{socket.getsockname()[1]}/?token={token}"
        click.echo(address)
        if opens:
            webbrowser.open(address)
        serve(models, socket, token)


def check_extra() -> None:
    """EnvironmentFault where what serves the page is not installed."""
    from cdkit.parts import EnvironmentFault

    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise EnvironmentFault(f"the page needs {name}, which is not installed", hint='pip install "cdkit[page]"')


@hookimpl
def cdkit_command() -> click.Command:
    return demo
