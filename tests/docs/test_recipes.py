"""docs/ranks_recipes.md: its manifests have the fields of their kinds, and its commands the flags of Dragon's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = (Path(__file__).parents[2] / "docs" / "ranks_recipes.md").read_text(encoding="utf-8")
# what the operator's API v2beta1 and Kubernetes have, of what a manifest here may need
SPEC = {"mpiImplementation", "slotsPerWorker", "sshAuthMountPath", "runPolicy", "mpiReplicaSpecs"}
POLICY = {"cleanPodPolicy", "backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "suspend"}
CONTAINER = {"name", "image", "workingDir", "command", "args", "resources", "volumeMounts", "env"}


def manifests() -> list[Any]:
    return [found for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for found in yaml.safe_load_all(text)]


def test_the_job_of_the_mpi_operator() -> None:
    job, claim = manifests()
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    spec = job["spec"]
    assert set(spec) <= SPEC
    assert spec["mpiImplementation"] in ("OpenMPI", "Intel", "MPICH")
    assert set(spec["runPolicy"]) <= POLICY
    replicas = spec["mpiReplicaSpecs"]
    assert set(replicas) == {"Launcher", "Worker"}
    for replica in replicas.values():
        assert set(replica) <= {"replicas", "template", "restartPolicy"}
        pod = replica["template"]["spec"]
        (container,) = pod["containers"]
        assert set(container) <= CONTAINER
        assert all(isinstance(word, str) for word in (*container["command"], *container.get("args", ())))
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    words = replicas["Launcher"]["template"]["spec"]["containers"][0]["command"]
    ranks = int(words[words.index("--ranks") + 1])
    assert ranks == replicas["Worker"]["replicas"] * spec["slotsPerWorker"]
