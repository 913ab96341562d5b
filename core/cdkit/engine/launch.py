"""launch: the same command in several processes, through torchrun's own machinery (torch.distributed.elastic)."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdkit.engine.ranks import EXPECTED, Elsewhere
from cdkit.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

PORT = 29_500
SHUTDOWN = 600  # seconds that processes may take to save when they are told to stop


@dataclass(frozen=True, slots=True)
class Launch:
    """procs: on this machine. nodes: machines. node: this one's number, None where they number themselves. meeting: HOST:PORT
    of the first one. restarts: how often all are started again when one fails. job: what tells this meeting from others."""

    procs: int
    nodes: int = 1
    node: int | None = None
    meeting: str = ""
    restarts: int = 0
    job: str = ""

    @property
    def world(self) -> int:
        return self.procs * self.nodes


def planned(
    procs: int | None,
    nodes: int | None,
    node: int | None,
    meeting: str | None,
    restarts: int,
    environment: Mapping[str, str] = os.environ,
) -> Launch | None:
    """What is asked for, completed by what SLURM says of a step with one task a machine; None: this process alone.

    UsageError where machines could not find each other.
    """
    if "RANK" in environment or (procs is None and nodes is None):
        return None
    slurm = environment if "SLURM_JOB_ID" in environment and environment.get("SLURM_NNODES", "1") != "1" else {}
    machines = nodes or int(slurm.get("SLURM_NNODES", "1"))
    if machines == 1:
        return Launch(procs or 1, restarts=restarts)
    if node is None and "SLURM_NODEID" in slurm:
        node = int(slurm["SLURM_NODEID"])
    where = meeting or (f"{first_host(slurm['SLURM_JOB_NODELIST'])}:{PORT}" if "SLURM_JOB_NODELIST" in slurm else "")
    if not where:
        raise UsageError(f"{machines} machines need a place to meet", hint="--rdzv HOST:PORT, of the first of them")
    if node is not None and not 0 <= node < machines:
        raise UsageError(f"--node-rank {node}: machines are numbered 0 to {machines - 1}")
    host, _, port = where.rpartition(":")
    where = where if host and port.isdigit() else f"{where}:{PORT}"
    return Launch(procs or 1, machines, node, where, restarts, slurm.get("SLURM_JOB_ID", "cdkit"))


def first_host(hosts: str) -> str:
    """Of SLURM's list: `gpu[003-007,9],login` -> gpu003."""
    found = re.match(r"([^\[,]+)(?:\[([^\],-]+))?", hosts)
    if found is None:
        raise UsageError(f"SLURM_JOB_NODELIST is {hosts!r}; expected names of machines", hint="--rdzv HOST:PORT")
    return found[1] + (found[2] or "")


def launch(words: Sequence[str], plan: Launch) -> None:
    """`cdkit WORDS` in every process of the plan, until all have ended.

    What fails there is said there: Elsewhere ends this process with the same exit code, EnvironmentFault for one that was
    killed. A signal that comes here is handed on, and they end as they do: saved first.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # each process speaks for itself
    os.environ[EXPECTED] = str(plan.world)
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // plan.procs, 1)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # its advice on DDP is for who wrote the loop
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")  # what is started again shall find nothing of before
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN))
    try:
        elastic_launch(_config(plan), sys.executable)("-m", "cdkit", *words)
    except SignalException as error:
        raise Elsewhere(128 + error.sigval.value) from error
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            raise Elsewhere(failure.exitcode) from error
        raise EnvironmentFault(
            f"process {rank} of {plan.world} (process id {failure.pid}) was killed by {signal.Signals(-failure.exitcode).name}",
            hint="SIGKILL most often means that no memory was left; --max-restarts starts all again, from the last checkpoint",
        ) from error


def _config(plan: Launch) -> LaunchConfig:
    from torch.distributed.launcher.api import LaunchConfig

    alone = plan.nodes == 1
    static = plan.node is not None
    return LaunchConfig(
        min_nodes=plan.nodes,
        max_nodes=plan.nodes,
        nproc_per_node=plan.procs,
        run_id=uuid.uuid4().hex if alone else plan.job,
        rdzv_endpoint="localhost:0" if alone else plan.meeting,
        rdzv_backend="static" if static else "c10d",
        rdzv_configs={"rank": plan.node} if static else {},
        max_restarts=plan.restarts,
        monitor_interval=0.5,
    )
