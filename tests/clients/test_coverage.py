"""Every method of the newest `HfApi` is driven against a live hub, or out of scope, with why.

Driven means: a step of the matrix or a test of this folder calls it by name. What a hub of weights
does not offer is listed here, once, with the reason that docs/protocol.md gives.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from huggingface_hub import HfApi

CLIENTS = Path(__file__).resolve().parent

SPACES = "running apps: a Space here is a repo of files"
JOBS = "rented compute"
ENDPOINTS = "another service at another host"
PAPERS = "the public hub's own content"
LEADERBOARD = "scores that the public hub collects from evaluation runs of its own"
OUT_OF_SCOPE = {
    **dict.fromkeys(
        [
            "add_space_secret", "add_space_variable", "delete_space_secret",
            "delete_space_variable",
            "delete_space_volumes", "disable_space_dev_mode", "enable_space_dev_mode",
            "fetch_space_logs", "get_space_runtime", "get_space_secrets", "get_space_variables",
            "get_zero_gpu_quota", "list_space_templates", "list_spaces_hardware", "pause_space",
            "request_space_hardware", "restart_space", "set_space_sleep_time", "set_space_volumes",
            "wait_for_space",
        ],
        SPACES,
    ),
    **dict.fromkeys(
        [
            "cancel_job", "create_scheduled_job", "create_scheduled_uv_job", "delete_scheduled_job",
            "fetch_job_logs", "fetch_job_metrics", "inspect_job", "inspect_scheduled_job",
            "list_jobs", "list_jobs_hardware", "list_scheduled_jobs", "rerun_job",
            "resume_scheduled_job", "run_job", "run_uv_job", "suspend_scheduled_job",
            "sync_job_volume", "trigger_scheduled_job", "update_job_expose", "update_job_labels",
            "update_scheduled_job_labels", "update_scheduled_job_schedule", "wait_for_job",
        ],
        JOBS,
    ),
    **dict.fromkeys(
        [
            "create_inference_endpoint", "create_inference_endpoint_from_catalog",
            "delete_inference_endpoint", "get_inference_endpoint", "list_inference_catalog",
            "list_inference_endpoints", "list_inference_endpoints_hardware",
            "pause_inference_endpoint", "resume_inference_endpoint",
            "scale_to_zero_inference_endpoint", "update_inference_endpoint",
        ],
        ENDPOINTS,
    ),
    **dict.fromkeys(["list_daily_papers", "list_papers", "paper_info", "read_paper"], PAPERS),
    "get_dataset_leaderboard": LEADERBOARD,
    "list_dataset_parquet_files": "the client itself refuses it on any hub but the public one",
    "run_as_future": "runs something else in a thread; it calls no hub",
}  # fmt: skip


def called() -> set[str]:
    """Names that are called, or handed on to be called, in the tests of this folder."""
    names: set[str] = set()
    for path in [*CLIENTS.glob("steps_*.py"), *CLIENTS.glob("test_*.py"), CLIENTS / "stepkit.py"]:
        if path.name == Path(__file__).name:
            continue  # the list below is no call
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)  # for getattr: older releases lack some methods
                names.update(_in_script(node.value))  # programs that a test runs as text
    return names


def _in_script(text: str) -> set[str]:
    if "api." not in text:
        return set()
    return {piece.split("(")[0] for piece in text.split("api.")[1:]}


def methods() -> set[str]:
    public = inspect.getmembers(HfApi, inspect.isfunction)
    return {name for name, _ in public if not name.startswith("_")}


def test_every_method_is_driven_or_out_of_scope() -> None:
    missing = methods() - called() - set(OUT_OF_SCOPE)
    assert not missing, f"no step calls {sorted(missing)}"


def test_the_list_of_exceptions_is_no_longer_than_it_must_be() -> None:
    assert not set(OUT_OF_SCOPE) & called(), "driven, so it is in scope"
    assert not set(OUT_OF_SCOPE) - methods(), "this release has no such method"
