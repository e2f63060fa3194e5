"""docs/ranks_recipes.md: the fields of its manifests, their types, and what the operator demands of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

PAGE = (Path(__file__).parents[2] / "docs" / "ranks_recipes.md").read_text(encoding="utf-8")
# Of a field: a type, the values that there are, [the form of each element], or {field: form}, of which "*" stands for
# all others. "!" behind a name: it must be there. From the operator's API v2beta1 and Kubernetes' core API; only fields
# that a manifest here may need.
Form = Any
METADATA = {"name!": str, "namespace": str, "labels": {"*": str}, "annotations": {"*": str}}
QUANTITIES = {"*": (int, str)}
CONTAINER = {
    "name!": str, "image": str, "imagePullPolicy": {"Always", "IfNotPresent", "Never"}, "workingDir": str,
    "command": [str], "args": [str], "env": [{"name!": str, "value": str}],
    "resources": {"limits": QUANTITIES, "requests": QUANTITIES},
    "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool, "subPath": str}],
    "readinessProbe": {"tcpSocket": {"port!": (int, str)}, "initialDelaySeconds": int, "periodSeconds": int},
    "securityContext": {"runAsUser": int, "runAsGroup": int},
}  # fmt: skip
VOLUME = {
    "name!": str, "persistentVolumeClaim": {"claimName!": str, "readOnly": bool},
    "emptyDir": {"medium": str, "sizeLimit": (int, str)},
}  # fmt: skip
POD = {"containers!": [CONTAINER], "volumes": [VOLUME], "nodeSelector": {"*": str}, "hostNetwork": bool}
REPLICAS = {
    "replicas": int, "restartPolicy": {"Never", "OnFailure"},
    "template!": {"metadata": {**METADATA, "name": str}, "spec!": POD},
}  # fmt: skip
JOB = {
    "apiVersion!": {"kubeflow.org/v2beta1"}, "kind!": {"MPIJob"}, "metadata!": METADATA,
    "spec!": {
        "mpiImplementation": {"OpenMPI", "Intel", "MPICH"}, "slotsPerWorker": int, "sshAuthMountPath": str,
        "launcherCreationPolicy": {"AtStartup", "WaitForWorkersReady"}, "runLauncherAsWorker": bool,
        "runPolicy": {
            "cleanPodPolicy": {"None", "Running", "All"}, "backoffLimit": int, "ttlSecondsAfterFinished": int,
            "activeDeadlineSeconds": int, "suspend": bool,
        },
        "mpiReplicaSpecs!": {"Launcher!": REPLICAS, "Worker": REPLICAS},
    },
}  # fmt: skip
CLAIM = {
    "apiVersion!": {"v1"}, "kind!": {"PersistentVolumeClaim"}, "metadata!": METADATA,
    "spec!": {
        "accessModes": [{"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}],
        "resources": {"requests": QUANTITIES, "limits": QUANTITIES}, "storageClassName": str,
    },
}  # fmt: skip


def wrong(value: Any, form: Form, at: str) -> list[str]:
    """What a value has that its form has not, a line for each."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is no mapping"]
        known = {name.rstrip("!"): inner for name, inner in form.items()}
        found = [f"{at}: no {name[:-1]}" for name in form if name.endswith("!") and name[:-1] not in value]
        for name, inner in value.items():
            if name in known or "*" in known:
                found += wrong(inner, known.get(name, known.get("*")), f"{at}.{name}")
            else:
                found.append(f"{at}.{name}: unknown")
        return found
    if isinstance(form, list):
        if not isinstance(value, list):
            return [f"{at}: {value!r} is no list"]
        return [line for k, inner in enumerate(value) for line in wrong(inner, form[0], f"{at}[{k}]")]
    if isinstance(form, set):
        return [] if value in form else [f"{at}: {value!r}"]
    kinds = form if isinstance(form, tuple) else (form,)
    return [] if type(value) in kinds else [f"{at}: {value!r} has another type"]


def manifests() -> list[Any]:
    return [found for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for found in yaml.safe_load_all(text)]


def refused(job: Any) -> list[str]:
    """What the operator would refuse in a job, in words of ours."""
    found = wrong(job, JOB, "job")
    if found:
        return found
    spec = job["spec"]
    replicas = spec["mpiReplicaSpecs"]
    workers = replicas.get("Worker", {}).get("replicas", 0)
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", f"{job['metadata']['name']}-worker-{workers}"):
        found.append("the name is none of a host")
    if replicas["Launcher"].get("replicas", 1) != 1:
        found.append("several launchers")
    if workers < 1:
        found.append("no workers")
    numbers = [spec.get("slotsPerWorker", 1), *(v for v in spec.get("runPolicy", {}).values() if type(v) is int)]
    if min(numbers) < 0:
        found.append("a negative number")
    if not spec.get("sshAuthMountPath", "/root/.ssh"):
        found.append("no place for the keys")
    for name, replica in replicas.items():
        pod = replica["template"]["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        if not pod["containers"]:
            found.append(f"{name} has no container")
        found += [
            f"{name}: no volume {mount['name']}"
            for container in pod["containers"]
            for mount in container.get("volumeMounts", [])
            if mount["name"] not in volumes
        ]
    return found


def test_the_job_of_the_mpi_operator() -> None:
    job, claim = manifests()
    assert refused(job) == []
    assert wrong(claim, CLAIM, "claim") == []
    spec = job["spec"]
    replicas = spec["mpiReplicaSpecs"]
    for replica in replicas.values():
        (volume,) = replica["template"]["spec"]["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    words = replicas["Launcher"]["template"]["spec"]["containers"][0]["args"][0].split()
    ranks = int(words[words.index("--ranks") + 1])
    assert ranks == replicas["Worker"]["replicas"] * spec["slotsPerWorker"]
    gpus = words[words.index("--gpu") + 1].split(",")
    limits = replicas["Worker"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert len(gpus) == limits["nvidia.com/gpu"] == spec["slotsPerWorker"]


def _launcher(job: Any) -> Any:
    return job["spec"]["mpiReplicaSpecs"]["Launcher"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda job: job["spec"].update(slotPerWorker=8), "job.spec.slotPerWorker: unknown"),
        (lambda job: job["spec"].update(slotsPerWorker="8"), "job.spec.slotsPerWorker: '8' has another type"),
        (lambda job: job["spec"].update(mpiImplementation="mpich"), "job.spec.mpiImplementation: 'mpich'"),
        (lambda job: job["spec"].pop("mpiReplicaSpecs"), "job.spec: no mpiReplicaSpecs"),
        (lambda job: job["spec"]["runPolicy"].update(backoffLimit=-1), "a negative number"),
        (lambda job: job["metadata"].update(name="Quick"), "the name is none of a host"),
        (lambda job: _launcher(job).update(replicas=2), "several launchers"),
        (lambda job: _launcher(job).update(restartPolicy="Always"), ".Launcher.restartPolicy: 'Always'"),
        (lambda job: _launcher(job)["template"]["spec"].pop("volumes"), "Launcher: no volume data"),
        (lambda job: _launcher(job)["template"]["spec"]["containers"][0].update(args=[16]), "args[0]: 16 has another"),
    ],
)  # fmt: skip
def test_what_would_be_refused(damage: Callable[[Any], object], says: str) -> None:
    job = copy.deepcopy(manifests()[0])
    damage(job)
    found = refused(job)
    assert len(found) == 1
    assert says in found[0]
