"""Asking several questions at once: a screen's panels do not wait for one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.utils.translation import get_language, override

from teiten.portal.problems import Panel, attempt

_WORKERS = 4


def ask_all(questions: Mapping[str, Callable[[], Any]]) -> dict[str, Panel[Any]]:
    """Ask every question; one that fails leaves the others alone."""
    language = get_language() or "ja"

    def ask(question: Callable[[], Any]) -> Panel[Any]:
        with override(language):  # problems are worded in the worker's thread
            return attempt(question)

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="asking") as workers:
        waiting = {name: workers.submit(ask, question) for name, question in questions.items()}
        return {name: future.result() for name, future in waiting.items()}
