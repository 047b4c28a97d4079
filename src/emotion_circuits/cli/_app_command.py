"""The app command."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

from emotion_circuits.cli._options import STORE_OPTIONS, StoreOptions, command, flag
from emotion_circuits.cli._output import note
from emotion_circuits.errors import InputError


@command(example="app --model reference/gpt2")
def app(
    *,
    model: Annotated[
        str, flag("--model1", help="The model to start with; others can be chosen on the page.")
    ] = "reference/gpt2",
    host: Annotated[str, flag(help="Where to listen; others than this machine's own need --password.")] = "127.0.0.1",
    port: Annotated[int, flag(help="Port.", at_least=1)] = 7860,
    password: Annotated[str | None, flag(help="Asked for on the page, with any name.", show_default=False)] = None,
    threads: Annotated[int | None, flag(help="torch's threads; one for the bundled models.", at_least=1)] = None,
    store_options: StoreOptions = STORE_OPTIONS,
) -> None:
    """Explore a model in the browser: steer, read, look up evidence.

    Directions, sweeps and claims are those of the results folder where it has them; directions are made
    from the bundled texts otherwise. The page is served from this machine and asks for nothing elsewhere.
    """
    if find_spec("gradio") is None:
        raise InputError(
            "The explorer needs Gradio.", found="no package gradio", next_step="pip install 'emotion-circuits[app]'"
        )
    from emotion_circuits.app import serve

    folder = store_options.folder if store_options.folder.is_dir() else None

    def tell(address: str) -> None:
        note(f"{address} – Ctrl-C ends it")

    serve(model, folder, host=host, port=port, password=password, threads=threads, on_ready=tell)
