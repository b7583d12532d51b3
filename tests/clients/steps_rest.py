"""Steps about what no other area calls: metadata by address, bytes ahead of a commit, kernels."""

from __future__ import annotations

from content import noise
from huggingface_hub import CommitOperationAdd, hf_hub_url
from stepkit import Context, Facts, check, same, same_bytes, same_set, step


@step
def metadata(context: Context) -> Facts:
    """What one request tells of a file, and of the name of a repo."""
    api, repo = context.api, context.repo("metadata")
    data = noise(f"{context.seed}/metadata", 600_000)
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=repo)
    url = hf_hub_url(repo, "w.bin", endpoint=context.endpoint)
    told = api.get_hf_file_metadata(url=url)
    same(told.size, len(data), "size")
    same(told.commit_hash, api.repo_info(repo).sha, "commit")
    same(api.get_full_repo_name("metadata"), repo, "a name without its namespace")
    if hasattr(api, "resolve_revision"):
        same(api.resolve_revision(repo).resolved, told.commit_hash, "the revision of main")
    return {}


@step
def ahead_of_the_commit(context: Context) -> Facts:
    """Large files sent first, committed later; then many deleted by pattern."""
    api, repo = context.api, context.repo("ahead")
    api.create_repo(repo)
    files = {f"part/{n}.bin": noise(f"{context.seed}/ahead/{n}", 200_000) for n in range(3)}
    additions = [CommitOperationAdd(path, data) for path, data in files.items()]
    api.preupload_lfs_files(repo, additions)
    same_set(api.list_repo_files(repo), [".gitattributes"], "nothing is there before the commit")
    api.create_commit(repo, additions, commit_message="all at once")
    for path, data in files.items():
        same_bytes(context.fetched(repo, path), data, path)
    if hasattr(api, "delete_files"):
        api.delete_files(repo, ["part/*.bin"])
        same_set(api.list_repo_files(repo), [".gitattributes"], "nothing is left")
    return {}


@step
def kernels(context: Context) -> Facts:
    """A kernel is a repo of its own type."""
    api, repo = context.api, context.repo("kernel")
    source = b"__global__ void nothing() {}"
    try:
        api.create_repo(repo, repo_type="kernel")
        api.upload_file(
            path_or_fileobj=source, path_in_repo="build/k.cu", repo_id=repo, repo_type="kernel"
        )
    except ValueError:  # older releases refuse the type themselves, here or there
        return {"skipped": "this release publishes no kernels"}
    info = api.kernel_info(repo)
    same((info.id, info.private), (repo, False), "the kernel")
    check(info.sha, "it has a commit")
    same_bytes(context.fetched(repo, "build/k.cu", repo_type="kernel"), source, "its source")
    api.delete_repo(repo, repo_type="kernel")
    return {}


@step
def safetensors_file(context: Context) -> Facts:
    """The header of one file, by two ranged requests."""
    api, repo = context.api, context.repo("header")
    header = b'{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    data = len(header).to_bytes(8, "little") + header + bytes(8)
    api.create_repo(repo)
    api.upload_file(path_or_fileobj=data, path_in_repo="m.safetensors", repo_id=repo)
    found = api.parse_safetensors_file_metadata(repo, "m.safetensors")
    same(found.tensors["t"].shape, [2], "the tensor's shape")
    return {}
