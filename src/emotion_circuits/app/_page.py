"""The page's layout: which controls there are, and what of `Explorer` each asks. No logic."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported

import gradio as gr

from emotion_circuits.app._bench import Benches
from emotion_circuits.app._listeners import NONE, PROMPT, Listeners, told
from emotion_circuits.app._own import EXAMPLE
from emotion_circuits.app._recipe import MOST_TOKENS
from emotion_circuits.app._session import Explorer, Session
from emotion_circuits.errors import InputError
from emotion_circuits.interventions import ACTIONS
from emotion_circuits.models import PACKAGED, REFERENCE_NAMES

LOCAL = ("127.0.0.1", "localhost", "::1")
TEXT = "Thank you so much for waiting. The bus to the station leaves at nine."


def asset(name: str) -> str:
    return files("emotion_circuits.app").joinpath(f"assets/{name}").read_text(encoding="utf-8")


def picking(name: str) -> gr.HTML:
    return gr.HTML("", js_on_load=asset("pick.js"), elem_id=name, elem_classes="ec", apply_default_css=False)


class Page(Listeners):
    """All controls.

    Args:
        explorer: who answers.
        model: the model to start with.
    """

    def __init__(self, explorer: Explorer, model: str):
        super().__init__(explorer, model)
        with gr.Blocks(title="emotion-circuits", analytics_enabled=False) as self.blocks:
            self.session = gr.State(Session())
            gr.Markdown("# emotion-circuits\nFind, steer and read emotions in a language model. Every number stands "
                        "beside its chance level.")  # fmt: skip
            self.notice = gr.HTML("", elem_id="notice", elem_classes="ec", apply_default_css=False)
            self._controls()
            with gr.Tabs():
                for name, build in (
                    ("Write", self._write), ("Read", self._read), ("Layer × dose", self._map), ("Claims", self._claims),
                    ("Your emotion", self._own), ("Share", self._share),
                ):  # fmt: skip
                    with gr.Tab(name):
                        build()
            self._listen()

    def _controls(self) -> None:
        names = list(dict.fromkeys([self.start, *REFERENCE_NAMES, *PACKAGED]))
        with gr.Row():
            self.model = gr.Dropdown(names, value=self.start, allow_custom_value=True, label="Model", elem_id="model",
                                     info="also a hub name, a folder or a .gguf file")  # fmt: skip
            self.emotion = gr.Dropdown([], label="Emotion", elem_id="emotion", info="whose direction")
            self.layer = gr.Slider(-1, 0, value=0, step=1, label="Layer", info="−1 is the embedding", elem_id="layer")
            self.dose = gr.Slider(-2, 2, value=0.4, step=0.05, label="Dose", info="negative takes away", elem_id="dose")
        with gr.Accordion("More: seed, length, mixture, ablation, gate", open=False):
            with gr.Row():
                self.seed = gr.Number(0, precision=0, minimum=0, label="Seed", elem_id="seed")
                self.temperature = gr.Slider(0, 2, value=0, step=0.1, label="Temperature", info="0 is greedy")
                self.tokens = gr.Slider(1, MOST_TOKENS, value=40, step=1, label="Tokens to write")
            with gr.Row():
                self.action = gr.Dropdown(list(ACTIONS), value="add", label="What is done", elem_id="action",
                                          info="ablate takes the share |dose| away; clamp sets it")  # fmt: skip
                self.second = gr.Dropdown([NONE], value=NONE, label="Second emotion", info="added too")
                self.second_dose = gr.Slider(-2, 2, value=0.2, step=0.05, label="Its dose")
                self.gate = gr.Textbox("", label="Gate", info="change only tokens that score below; empty for all")
        self.status = gr.HTML("", elem_id="status", elem_classes="ec", apply_default_css=False)

    def _write(self) -> None:
        self.prompt = gr.Textbox(PROMPT, label="Prompt", lines=2, elem_id="prompt")
        self.go = gr.Button("Write", variant="primary", elem_id="write")
        self.texts = picking("texts")
        self.others = picking("others")

    def _read(self) -> None:
        self.text = gr.Textbox(TEXT, label="Text to read", lines=3, elem_id="text")
        with gr.Row():
            self.best = gr.Checkbox(True, label="At the layer that finds the emotion best, not the one above")
            self.second_model = gr.Dropdown([NONE, *REFERENCE_NAMES, *PACKAGED], value=NONE, allow_custom_value=True,
                                            label="Second model, for comparison", elem_id="second-model")  # fmt: skip
        self.colour = gr.Button("Colour", variant="primary", elem_id="colour")
        self.tokens_read = picking("reading")
        self.profile = picking("profile")
        self.show_heads = gr.Button("Which heads write it", elem_id="show-heads")
        self.heads = picking("heads")
        self.attention = picking("attention")

    def _map(self) -> None:
        with gr.Row():
            self.show = gr.Button("Show the study's, or compute a small one", variant="primary", elem_id="show-map")
            self.compute = gr.Button("Compute a small one", elem_id="compute-map")
        self.grid = picking("grid")

    def _claims(self) -> None:
        self.wanted = gr.Textbox(
            "", label="Search claims", info="words that a claim has, such as supported rq3", elem_id="search"
        )
        self.found = picking("claims")
        self.evidence = picking("evidence")

    def _own(self) -> None:
        self.name = gr.Textbox("", label="Name", info="small letters", elem_id="own-name")
        self.pairs = gr.Textbox("", label="Pairs", lines=8, elem_id="own-pairs", placeholder=EXAMPLE,
                                info="20 or more lines: a text | its neutral twin")  # fmt: skip
        self.fit = gr.Button("Find its direction", variant="primary", elem_id="fit")
        self.quality = picking("quality")

    def _share(self) -> None:
        self.link_it = gr.Button("Make link, command, Python and files", variant="primary", elem_id="share")
        self.link = gr.Textbox(label="Link", buttons=["copy"], elem_id="link")
        self.command = gr.Textbox(label="Command", lines=3, buttons=["copy"], elem_id="command")
        self.python = gr.Textbox(label="Python", lines=10, buttons=["copy"], elem_id="python")
        with gr.Row():
            self.as_html = gr.DownloadButton("Last texts as HTML", interactive=False, elem_id="as-html")
            self.as_json = gr.DownloadButton("Last texts as JSON", interactive=False, elem_id="as-json")
            self.upload = gr.UploadButton("An earlier run's JSON, beside the last texts", type="binary",
                                          file_types=[".json"], elem_id="earlier")  # fmt: skip
        self.beside = picking("beside")

    def _listen(self) -> None:
        on, session = self._on, self.session
        asked = [session, self.model, self.emotion, self.layer, self.dose, self.seed, self.temperature, self.tokens,
                 self.action, self.second, self.second_dose, self.gate, self.prompt]  # fmt: skip
        chosen = [self.emotion, self.second, self.layer, self.status]
        every = [self.model, self.dose, self.seed, self.temperature, self.tokens, self.action, self.second_dose,
                 self.gate, self.prompt, *chosen]  # fmt: skip
        texts = [self.texts, self.others]
        on([self.go.click, self.prompt.submit, self.layer.input, self.dose.input, self.layer.release,
            self.dose.release], self.written, asked, texts, hidden=True)  # fmt: skip
        for event in (
            on([self.blocks.load], self.opened, [session], every),
            on([self.model.input], self.changed, [session, self.model, self.emotion], chosen),
            on([self.emotion.input], self.layered, [session, self.model, self.emotion], [self.layer]),
            on([self.others.click], self.forked, [session], [self.prompt]),
            on([self.grid.click], self.celled, [], [self.layer, self.dose]),
        ):
            event.then(told(self.written, len(texts)), asked, [self.notice, *texts], show_progress="hidden")
        on([self.texts.click], self.alternatives, [session], [self.others])
        read = [session, self.model, self.second_model, self.text, self.emotion, self.layer, self.best]
        on([self.colour.click, self.text.submit], self.read, read,
           [self.tokens_read, self.profile, self.heads, self.attention])  # fmt: skip
        on([self.show_heads.click], self.headed, [session], [self.heads, self.attention])
        on([self.heads.click], self.attended, [session], [self.attention])
        on([self.tokens_read.click], self.profiled, [session], [self.profile])
        on([self.show.click], self.mapped, [session, self.model, self.emotion], [self.grid], hidden=True)
        on([self.compute.click], self.computed, [session, self.model, self.emotion], [self.grid], hidden=True)
        gr.on([self.blocks.load, self.wanted.change], self.claims, [self.wanted], [self.found], show_progress="hidden")
        on([self.found.click], self.evident, [], [self.evidence])
        on([self.fit.click], self.owned, [session, self.model, self.name, self.pairs], [self.quality, self.emotion])
        made = [self.link, self.command, self.python, self.as_html, self.as_json]
        linked = on([self.link_it.click], self.shared, asked, made)
        linked.then(None, [self.link], [self.link], js="q => new URL(q, location.href).href")
        on([self.upload.upload], self.earlier, [session, self.upload], [self.beside])

    def _on(self, triggers: list[Any], work: Any, inputs: list[Any], outputs: list[Any], hidden: bool = False) -> Any:
        return gr.on(
            triggers, told(work, len(outputs)), inputs, [self.notice, *outputs], trigger_mode="multiple",
            show_progress="hidden" if hidden else "minimal", show_progress_on=outputs, concurrency_limit=None,
            api_visibility="private",
        )  # fmt: skip


def check_place(host: str, port: int, password: str | None) -> None:
    """Raise `InputError` where others could reach the page without a password, or for a port that is none."""
    if host not in LOCAL and not password:
        raise InputError("Others could use this page.", found=f"--host {host}", accepted=", ".join(LOCAL),
                         next_step="give --password too")  # fmt: skip
    if not 0 < port < 2**16:
        raise InputError("This is no port.", found=port, accepted="1 to 65535")


def serve(
    model: str, folder: Path | None, *, host: str = LOCAL[0], port: int = 7860, password: str | None = None,
    threads: int | None = None, on_ready: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Serve the page until interrupted.

    Args:
        model: to start with; loaded while the first page is.
        folder: `results/<profile>` of a study, where there is one.
        host, port: where. password: asked for, with any name; needed for other hosts than this machine.
        threads: torch's.
        on_ready: called with the page's address.

    Raises:
        InputError: another host without a password, a port that is taken, a model that cannot be used.
    """
    check_place(host, port, password)
    benches = Benches(folder, threads)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(benches.get, model)
        page = Page(Explorer(benches), model)
        css = asset("page.css")
        # Fonts of the reader's own: nothing is fetched from anywhere.
        theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
        auth = None if not password else lambda _, given: hmac.compare_digest(given.encode(), password.encode())
        try:
            page.blocks.queue(default_concurrency_limit=None, api_open=False).launch(
                server_name=host, server_port=port, share=False, auth=auth, quiet=True, theme=theme, css=css,
                footer_links=[], enable_monitoring=False, ssr_mode=False, show_error=True, max_file_size="1mb",
                pwa=False, mcp_server=False, prevent_thread_lock=True,
            )  # fmt: skip
        except OSError as error:
            raise InputError("The page cannot be served here.", found=f"{host}:{port}, taken or not this machine's",
                             next_step="give another --port") from error  # fmt: skip
        try:
            on_ready(page.blocks.local_url)
            loading.result()
            page.blocks.block_thread()
        finally:
            page.blocks.close(verbose=False)
