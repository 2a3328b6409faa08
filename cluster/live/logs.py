"""Logs of one process: a JSON object a line, each with the name of the process that wrote it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import structlog
from structlog.tracebacks import ExceptionDictTransformer


def write_to(folder: Path, process: str) -> Path:
    """Send every log line of this process to ``<folder>/<process>.jsonl``; return that file.

    What libraries write by the standard ``logging`` (gRPC, asyncio) goes the same way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{process}.jsonl"

    def name(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("process", process)
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    return file


def flush() -> None:
    """Bring every line to the file; for a process that is about to end without ceremony."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    sys.stdout.flush()
    sys.stderr.flush()
