"""The command line with a launcher that needs no Ray."""

from cluster.cli import launcher_process
from cluster.cli.main import main

if __name__ == "__main__":
    launcher_process.LAUNCHER = "tests.cluster.cli_launcher"
    main()
