"""JupyterLab and a browser for the tests that drive a page.

Each test gets a :class:`LabPage`, an empty page of one shared browser on one shared server. At its end no request
may have left this machine and no script may have failed.
"""

from __future__ import annotations

import http.cookiejar
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

REPOSITORY = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
THEMES = "@jupyterlab/apputils-extension:themes"
PAGE_CONFIG = {"buildCheck": False, "buildAvailable": False}  # else dash's lab extension opens a modal dialog
OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # outputs out of view are drawn too
}

ERROR = '.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]'
IDLE = """() => {
    const name = document.querySelector('.jp-Notebook-toolbar .jp-KernelName, .jp-NotebookPanel .jp-KernelName');
    const light = document.querySelector('.jp-Notebook-ExecutionIndicator');
    return name && name.innerText !== 'No Kernel' && light && light.dataset.status === 'idle';
}"""  # before a kernel is there, the light says idle too, and what is run then is lost
FINISHED = f"""() => document.querySelector('{ERROR}') !== null
    || [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].every(e => /[0-9]/.test(e.textContent))"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass(frozen=True)
class LabServer:
    """A running JupyterLab: its address and the folder it serves."""

    url: str
    folder: Path

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Call the server's REST interface; what changes something must show the cookie of a page as well."""
        cookies = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        headers = {}
        if method != "GET":
            opener.open(f"{self.url}/lab", timeout=30).close()
            headers = {"X-XSRFToken": next(cookie.value for cookie in cookies if cookie.name == "_xsrf")}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        with opener.open(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def end_sessions(self) -> None:
        """Shut every kernel down: a live one would bring its old widgets back."""
        for session in self.request("GET", "api/sessions"):
            self.request("DELETE", f"api/sessions/{session['id']}")


@pytest.fixture
def answer_seconds() -> Callable[..., float]:
    """CPU seconds in which an app answers: the least of three calls, after one that fills its caches."""

    def measure(client: Any, name: str, values: tuple[Any, ...]) -> float:
        client.predict(*values, api_name=name)
        took = []
        for _ in range(3):
            began = time.process_time()
            client.predict(*values, api_name=name)
            took.append(time.process_time() - began)
        return min(took)

    return measure


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    home = tmp_path_factory.mktemp("jupyter")
    folder = tmp_path_factory.mktemp("notebooks")
    labconfig = home / "config" / "labconfig"
    labconfig.mkdir(parents=True)
    (labconfig / "page_config.json").write_text(json.dumps(PAGE_CONFIG))
    settings = home / "app-settings"
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(OVERRIDES))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"),
        *("--ServerApp.port_retries=0", "--IdentityProvider.token=", "--LabApp.news_url="),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        f"--LabApp.app_settings_dir={settings}",
        f"--ServerApp.root_dir={folder}",
        "--allow-root",
    ]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
        "OMP_NUM_THREADS": "1",
    }
    log = home / "server.log"
    with log.open("w") as sink:
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=subprocess.STDOUT)
    server = LabServer(f"http://127.0.0.1:{port}", folder)
    try:
        _wait_until_up(server, process, log)
        yield server
        server.end_sessions()
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_up(server: LabServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.request("GET", "api/status")
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The machine's own Chromium or Chrome, or the one that playwright has installed."""
    with playwright_api.sync_playwright() as play:
        own = Path(play.chromium.executable_path)
        path = next(filter(None, map(shutil.which, BROWSERS)), None) or (str(own) if own.is_file() else None)
        if path is None:
            pytest.skip("no Chromium on this machine; `playwright install chromium` brings one")
        browser = play.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def app_page(chromium: Any) -> Iterator[Callable[[str], Any]]:
    """Open the page of an app at an address; it may ask no other host, and its scripts may not fail."""
    with ExitStack() as stack:
        errors: list[str] = []
        foreign: list[str] = []
        here = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")

        def opened(address: str) -> Any:
            page = chromium.new_page(viewport={"width": 1280, "height": 1400})
            stack.callback(page.close)
            page.set_default_timeout(90_000)
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("request", lambda request: None if request.url.startswith(here) else foreign.append(request.url))
            page.goto(address)
            return page

        yield opened
    assert errors == []
    assert foreign == []


@dataclass
class LabPage:
    """A browser page on JupyterLab, with what went wrong on it."""

    server: LabServer
    page: Any
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def set_theme(self, name: str) -> None:
        """Choose "JupyterLab Light" or "JupyterLab Dark" for the notebook opened next."""
        body = {"raw": json.dumps({"theme": name})}
        self.server.request("PUT", f"lab/api/settings/{urllib.parse.quote(THEMES)}", body)

    def open_notebook(self, path: str | Path) -> None:
        """Open a notebook, given relative to the served folder or as a file to be copied there."""
        source = Path(path)
        if source.is_absolute():
            shutil.copy(source, self.server.folder / source.name)
            source = Path(source.name)
        self.page.goto(f"{self.server.url}/lab/tree/{urllib.parse.quote(source.as_posix())}?reset", timeout=90_000)
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=90_000)
        self._wait_idle(90_000)

    def run_all(self, timeout: float = 120) -> None:
        """Run every cell and wait until the kernel has finished; fails if a cell raised or warned."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator('[data-command="runmenu:run-all"]').click()
        self.page.wait_for_function(FINISHED, timeout=1000 * timeout)
        self._wait_idle(1000 * timeout)
        failed = self.page.locator(ERROR)
        assert failed.count() == 0, failed.first.inner_text()

    def outputs(self) -> list[str]:
        """Text of every output of every cell, in order."""
        return self.page.locator(".jp-CodeCell .jp-OutputArea-output").all_inner_texts()

    def run_cell(self, index: int) -> str:
        """Run one code cell again and return the text that it gives."""
        cell = self.page.locator(".jp-CodeCell").nth(index)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        cell.locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        playwright_api.expect(prompt).not_to_have_text(before)
        playwright_api.expect(prompt).not_to_contain_text("*")
        return cell.locator(".jp-OutputArea-output").first.inner_text().strip()

    def _wait_idle(self, timeout: float) -> None:
        self.page.wait_for_function(IDLE, timeout=timeout)

    def _note_request(self, request: Any) -> None:
        address = urllib.parse.urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in ("127.0.0.1", "localhost"):
            self.foreign.append(request.url)

    def _note_console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"console: {message.text}")

    def watch(self) -> None:
        """Start to note requests to other hosts, console errors and scripts that fail."""
        self.page.on("request", self._note_request)
        self.page.on("websocket", self._note_request)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.errors.append(f"page: {error}"))


@pytest.fixture(scope="session")
def new_lab_page(lab_server: LabServer, chromium: Any) -> Callable[[], AbstractContextManager[LabPage]]:
    """Opens an empty page, for fixtures that keep one over several tests."""

    @contextmanager
    def opened() -> Iterator[LabPage]:
        page = chromium.new_page(viewport={"width": 1280, "height": 2400})
        lab = LabPage(lab_server, page)
        lab.watch()
        yield lab
        page.close()
        lab.set_theme("JupyterLab Light")
        lab_server.end_sessions()
        assert lab.foreign == [], "the page asked other hosts"
        assert lab.errors == [], "scripts of the page failed"

    return opened


@pytest.fixture
def lab_page(new_lab_page: Callable[[], AbstractContextManager[LabPage]]) -> Iterator[LabPage]:
    with new_lab_page() as lab:
        yield lab


@pytest.fixture(scope="session")
def show_cells(new_lab_page: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Opens a notebook of the given cells on a page of its own, and runs it."""

    @contextmanager
    def shown(*sources: str) -> Iterator[LabPage]:
        cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = tmp_path_factory.mktemp("made") / "made.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
        with new_lab_page() as lab:
            lab.open_notebook(path)
            lab.run_all()
            yield lab

    return shown


@pytest.fixture(scope="session")
def time_one_step() -> Callable[[Any, str, float], float]:
    """Moves a slider of the scene explorer, and returns the milliseconds until its answer is on show."""
    script = """([name, step]) => new Promise(resolve => {
        const root = document.querySelector('.vl-scene');
        const slider = document.querySelector(`input.vl-scene-${name}`);
        const seen = new MutationObserver(() => (seen.disconnect(), resolve(performance.now() - start)));
        seen.observe(root, { attributes: true, attributeFilter: ['data-answers'] });
        const start = performance.now();
        slider.value = Number(slider.value) + step;
        slider.dispatchEvent(new Event('input'));
    })"""
    return lambda page, name, step: page.evaluate(script, [name, step])


@pytest.fixture(scope="session")
def load_app() -> Callable[[str], Any]:
    """Imports an app by its name."""

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, REPOSITORY / "apps" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def serve_app() -> Callable[[Any], AbstractContextManager[str]]:
    """Serves an app, which has to be there within ten seconds, and gives its address."""

    @contextmanager
    def served(app: Any) -> Iterator[str]:
        began = time.monotonic()
        demo = app.build()
        _, url, _ = demo.queue().launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False)
        assert time.monotonic() - began < 10
        yield url
        demo.close()

    return served
