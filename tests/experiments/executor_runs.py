"""Run an experiment by workers in other processes, one of which is killed: a script, since processes are started anew.

    python executor_runs.py ray|processes FOLDER

Prints JSON: what became of the run.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from headrouter_ray.executor import RayExecutor

from experiments import kills, light
from headrouter.experiments.executor import Executor
from headrouter.experiments.run_folder.cell import CellRecord
from headrouter.experiments.run_folder.difference import difference
from headrouter.experiments.running.local import LocalExecutor
from headrouter.experiments.running.runner import run
from headrouter.plugins import reload

_PARTS = """
from experiments.light import Plugin
headrouter_api = 1
_plugin = Plugin()
globals().update({name: getattr(_plugin, name) for name in dir(Plugin) if name.startswith("register_")})
"""


def installed(place: Path) -> None:
    """Install the parts of the tests as a plug-in, for this process and for actors."""
    info = place / "light_parts-0.dist-info"
    info.mkdir(parents=True)
    (place / "light_parts.py").write_text(_PARTS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: light-parts\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[headrouter]\nlight-parts = light_parts\n")
    paths = [str(place), str(Path(__file__).parents[1])]
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    sys.path[:0] = paths
    reload()


class TwoProcesses(LocalExecutor):
    """Has a process for each of two devices, as on two GPUs."""

    def devices(self, device: str) -> list[str]:
        return ["cpu", "cpu:0"]


def killed(root: Path, executor: Executor) -> dict[str, Any]:
    """Kill one of two workers as soon as a record of it is seen; compare with a run of this machine alone."""
    experiment, folder = light.experiment(pictures=12), root / "killed"
    reported: list[CellRecord] = []
    victims: list[int] = []
    workers: set[int] = set()

    def kill(record: CellRecord) -> None:
        reported.append(record)
        number = int(record.process.split("+")[2])
        workers.add(number)
        if not victims and number != os.getpid():
            os.kill(number, signal.SIGKILL)
            victims.append(number)

    records = run(experiment, folder, executor=executor, progress=False, batch=4, report=kill)
    run(experiment, root / "local", batch=4, progress=False)
    told = difference(folder, root / "local")
    return {
        "kills": len(victims),
        "workers": sorted(workers),
        "records": len(records),
        "reported": len(reported),
        "processes": len({one.process for one in reported}),
        "wrong": kills.wrong(folder, 12 * 2 * 4),
        "left": [path.name for part in ("claims", "processes", "unfinished") for path in (folder / part).iterdir()],
        "same": told.origin == [] and all(both == same > 0 for both, same in told.same.values()),
    }


def on_ray(root: Path) -> dict[str, Any]:
    """Start a cluster, run the experiment, and stop it."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    import ray

    for rest in (2, 1, 0):
        try:
            ray.init(
                num_cpus=2,
                num_gpus=0,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=80_000_000,
                _node_ip_address="127.0.0.1",
            )
            break
        except Exception:  # Ray waits for its own processes for half a minute, which a busy machine may exceed
            ray.shutdown()
            if not rest:
                raise
    try:
        return killed(root, RayExecutor())
    finally:
        ray.shutdown()


if __name__ == "__main__":
    place = Path(sys.argv[2])
    installed(place / "installed")
    print(json.dumps(on_ray(place) if sys.argv[1] == "ray" else killed(place, TwoProcesses())))
