"""Run examples/browser: export photo-f8, fetch onnxruntime-web, serve the page, and try it in headless Chromium.

    pip install playwright     # and Chromium: playwright install chromium, or that of the system
    python scripts/browser_example.py --screenshot page.png
    python scripts/browser_example.py --serve    # to look at it yourself

Needs npm, for onnxruntime-web, and the extra [onnx]. All files are in a temporary folder.
"""

import argparse
import shutil
import subprocess
import tarfile
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from browser_checks import check_page
from vistok.pretrained.exporters.export_model import export_model

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "examples" / "browser"
PHOTOS = ROOT / "tests" / "photos"
RUNTIME = "onnxruntime-web"
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, with the headers that WebAssembly needs for threads, and says nothing."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def end_headers(self) -> None:
        """Isolate the page, so that its threads may share memory."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def assemble(folder: Path) -> None:
    """Put the page, onnxruntime-web and the files of photo-f8 into a folder."""
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    done = export_model("photo-f8", "onnx", folder / "model", [str(PHOTOS)])
    print(f"photo-f8: {done.agreement.same:,} of {done.agreement.tokens:,} tokens as in float32 on {done.photos}")
    with tempfile.TemporaryDirectory() as fetched:
        subprocess.run(["npm", "pack", RUNTIME, "--silent"], cwd=fetched, check=True, stdout=subprocess.DEVNULL)
        archive = next(Path(fetched).glob("*.tgz"))
        print(f"fetched {archive.name}")
        (folder / "ort").mkdir()
        with tarfile.open(archive) as tar:
            for name in RUNTIME_FILES:
                content = tar.extractfile(f"package/dist/{name}")
                assert content is not None
                (folder / "ort" / name).write_bytes(content.read())


def main() -> None:
    """Assemble, serve, check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="serve until Enter instead of checking")
    parser.add_argument("--screenshot", type=Path, default=Path("browser.png"), help="where the screenshot goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        assemble(Path(folder))
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
            url = f"http://127.0.0.1:{server.server_port}/"
            Thread(target=server.serve_forever, daemon=True).start()
            print(url)
            if arguments.serve:
                input("Press Enter to stop.\n")
            else:
                check_page(url, PHOTOS, arguments.screenshot)
            server.shutdown()


if __name__ == "__main__":
    main()
