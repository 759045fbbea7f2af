import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from run_tiny import TinyRun, answers

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "train_losses.json"


def test_two_processes_train_and_measure_like_one_and_stop_together(tmp_path: Path, tiny_run: TinyRun) -> None:
    """Real processes, two devices each: the one-device losses and answers; a SIGTERM to one stops both after the same step."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    flags += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    environment = {
        **os.environ,
        "XLA_FLAGS": flags,
        "PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parents[1]))),
        "JAX_PLATFORMS": "cpu",
    }
    logs = [(tmp_path / f"log_{index}").open("w+") for index in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "two_processes.py"), str(tmp_path), port, str(index), "2"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        for index, log in enumerate(logs)
    ]
    try:
        codes = [process.wait(timeout=240) for process in processes]
    finally:
        for process, log in zip(processes, logs, strict=True):
            process.kill()
            process.wait()
            log.seek(0)
            print(log.read())  # pytest shows it where the test fails
            log.close()
    assert codes == [0, 0]
    first, second = (json.loads((tmp_path / f"result_{index}.json").read_text()) for index in range(2))
    assert first == second
    assert first["devices"] == 4
    np.testing.assert_allclose(first["losses"], json.loads(GOLDEN.read_text())["adamw"][:3], rtol=1e-5)
    assert first["first"] == 4  # went on behind the restored step
    scores, texts = answers(tiny_run)
    np.testing.assert_allclose(first["scores"], scores, rtol=1e-5, atol=1e-5)
    assert (first["texts"], first["recalled"]) == (texts, True)
    step, signum = first["stopped"]
    assert (signum, first["saved"]) == (signal.SIGTERM, [3, step])
