"""The page to try a model in a browser: `page.html`, with what it has to know of the model.

It needs no other file. The policy sent with it lets a browser run its script alone, which may call this server alone.
"""

import html
import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse

from pipeline.config.params import Order
from pipeline.prediction.requests import Service

PAGE = Path(__file__).with_name("page.html")
SYMBOLS = 200  # of the sources, that are shown


def page(service: Service, corrections: Path | None) -> HTMLResponse:
    """The page for a model. corrections: the file that corrections are appended to, None if they are downloaded."""
    model, order = service.predictor.model, service.predictor.decoding.order
    settings: dict[str, Any] = {
        # A greedy search has one prediction for each source.
        "params": {"alignment": True, "listed": True, **({"order": "beam"} if order is Order.GREEDY else {})},
        "source": model.source_alphabet.kind,
        "target": model.target_alphabet.kind,
        "symbols": model.source_alphabet.symbols[:SYMBOLS],
        "file": corrections and corrections.name,
    }
    text = PAGE.read_text(encoding="utf-8")
    sources = {name: _hash_of(name, text) for name in ("script", "style")}
    policy = "; ".join(
        [
            *("default-src 'none'", f"script-src {sources['script']}", f"style-src {sources['style']}"),
            *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        ]
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(text.replace("SETTINGS", html.escape(json.dumps(settings)), 1), headers=headers)


def _hash_of(element: str, text: str) -> str:
    """The source expression that allows the only element of a name in a page, as it is."""
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
