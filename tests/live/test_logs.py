import json
import logging
import subprocess
import sys
from pathlib import Path

WRITE = """
import logging, sys
from pathlib import Path
import structlog
log = structlog.get_logger()
from cluster.live import logs
logs.write_to(Path(sys.argv[1]), "cna-01")
log.info("VM state", vm="i-00000001", state="running")
logging.getLogger("grpc._cython").warning("from a %s", "library")
try:
    raise ValueError("why")
except ValueError:
    log.exception("it went wrong")
"""


def test_every_line_is_json_and_bears_the_name_of_its_process(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], check=True)
    text = (tmp_path / "cna-01.jsonl").read_text()
    state, library, failure = map(json.loads, text.splitlines())
    assert {line["process"] for line in (state, library, failure)} == {"cna-01"}
    assert (state["event"], state["vm"], state["level"]) == ("VM state", "i-00000001", "info")
    assert (library["event"], library["logger"]) == ("from a library", "grpc._cython")
    assert library["level"] == logging.getLevelName(logging.WARNING).lower()
    assert failure["exception"][0]["exc_value"] == "why"
