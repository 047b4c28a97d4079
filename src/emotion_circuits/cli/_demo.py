"""The demo command: what there is to see, within a minute of the set-up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from emotion_circuits.cli._options import Json, command, flag
from emotion_circuits.cli._output import emit, say
from emotion_circuits.cli._tokens import token_rows, token_table
from emotion_circuits.errors import InputError

MODEL = "reference/gpt2"
TEXT = "Thank you so much for staying with us, I am deeply grateful."


@command(example='demo --text "I should never have said that to you."')
def demo(
    *,
    text: Annotated[str, flag(help="A sentence of yours, which is read token by token.")] = TEXT,
    results: Annotated[Path, flag(help="Folder that the results are laid into.")] = Path("demo"),
    open_page: Annotated[bool, flag("--open", help="Show the page in the browser.")] = False,
    json: Json = False,
) -> None:
    """Show the page of a finished study, and read a sentence token by token.

    The results are those of a study of SmolLM2-135M that come with the package; `plot` and `report` work on
    them too. The sentence is read by a small bundled model, beside what tokens of ordinary texts score.
    """
    import webbrowser

    from emotion_circuits.app import open_bench, read_text
    from emotion_circuits.report import unpack_demo, write_report

    if not text.strip():
        raise InputError("The sentence is empty.", next_step="leave --text out, or give one")
    folder = unpack_demo(results)
    say("Drawing the page of a finished study")
    write_report(folder)
    page = folder / "report" / "index.html"
    if open_page and not webbrowser.open(page.resolve().as_uri()):
        say("There is no browser to show it in")
    say(f"{page} – open it in a browser; {page.with_suffix('.ja.html').name} is the same in Japanese")
    say(f"Reading the sentence with {MODEL}")
    bench = open_bench(MODEL, threads=1)
    readings = [read_text(bench, bench.directions, text, emotion) for emotion in bench.directions.emotions]
    emit({"page": page, "model": MODEL, "tokens": token_rows(readings)}, json, table=token_table(readings))
    say("Next: emotion-circuits app, a page to steer and read models; emotion-circuits study, a study of your own")
