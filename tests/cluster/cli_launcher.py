"""A launcher that starts nothing but a ``TalkingVrm``; ``CLI_LAUNCH`` says how the launch goes,
``CLI_OBSERVERS`` where a Prometheus answers that it has started.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from cluster.live import processes
from cluster.live.progress import Progress, Step
from cluster.live.run_state import RunState
from tests.cluster.cli_vrm import ServedVrm


def tell(progress: Progress) -> None:
    sys.stdout.write(progress.line())
    sys.stdout.flush()


def watch_lifeline(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def main() -> int:
    manner = os.environ.get("CLI_LAUNCH", "up")
    (Path(os.environ["FUSION_HOME"]) / "arguments.json").write_text(json.dumps(sys.argv[1:]))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if manner == "refused":
        tell(Progress(Step.FAILED, text="hosts[0].memory: no\nvms: no", refused=True))
        return 2
    if manner == "dies":
        print("Traceback\nOSError: something unheard of", file=sys.stderr)
        return 7
    if manner == "shot":
        print("some library: a warning", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    print("a library says hello", flush=True)
    tell(Progress(Step.RAY, 0, 1, "starting Ray"))
    if manner == "broken":
        tell(Progress(Step.FAILED, text="host cna-02 does not start"))
        return 1
    with ServedVrm() as server:
        state = RunState(
            datacenter="demo",
            folder=str(Path(os.environ["FUSION_HOME"]) / "demo" / "run-1"),
            launcher=processes.identify(os.getpid(), "launcher"),
            phase="launching",
            launched_at=time.time(),
            addresses={"vrm": f"127.0.0.1:{server.port}"},
            metrics_urls={"vrm": "http://127.0.0.1:17001/metrics"},
            observers={"prometheus": url} if (url := os.environ.get("CLI_OBSERVERS")) else {},
        )
        state.save()
        tell(Progress(Step.RAY, 1, 1, "Ray is up"))
        tell(Progress(Step.VRM, 1, 1))
        tell(Progress(Step.HOSTS, 1, 2))
        if manner != "hangs":
            tell(Progress(Step.HOSTS, 2, 2))
            few = manner == "short"
            tell(Progress(Step.VMS, 2 if few else 3, 3))
            tell(Progress(Step.UP, 1, 1, "VMs of web: no host fits one of them" if few else "up"))
        if manner == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if "--detach" not in sys.argv:
            threading.Thread(target=watch_lifeline, args=(stop,), daemon=True).start()
        stop.wait()
        state.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
