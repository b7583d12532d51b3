"""Steps that look: trees, infos, existence, resumed downloads, the file system, listings."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from content import (
    BIG,
    EMPTY,
    ODD,
    PARAMETERS,
    UNICODE,
    folder,
    git_blob_id,
    lfs_pointer,
    scratch,
    sha256,
    text,
    weights,
)
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import EntryNotFoundError
from proxy import CuttingProxy
from stepkit import Context, Facts, Mismatch, check, refused, same, same_bytes, same_set, step
from steps_files import EDITED, GIT_ATTRIBUTES

MIB = 2**20
CUTS = 2
CUT_PLAIN_BYTES = 45 * MIB  # the client keeps whole pieces of 10 MiB, so 40 of these
CUT_XET_BYTES = 6 * MIB  # a Xet download is spread over connections; each must get this far
LOST_BYTES_MAX = CUTS * 10 * MIB + 4 * MIB  # what a resumed plain download may fetch twice


@step
def tree(context: Context) -> Facts:
    api, repo = context.api, context.repo("tree")
    files = folder(context.seed)
    items = list(api.list_repo_tree(repo, recursive=True))
    entries = {each.path: each for each in items if hasattr(each, "blob_id")}
    same_set(entries.keys() - {GIT_ATTRIBUTES, EDITED}, files, "files of the recursive tree")
    folders = {str(up) for path in files for up in PurePosixPath(path).parents} - {"."}
    same_set((e.path for e in items if not hasattr(e, "blob_id")), folders, "folders of the tree")
    for path, data in files.items():
        entry = entries[path]
        same(entry.size, len(data), f"size of {path}")
        stored = lfs_pointer(data) if entry.lfs else data
        same(entry.blob_id, git_blob_id(stored), f"git id of {path}")
        if entry.lfs:
            same(entry.lfs.sha256, sha256(data), f"sha256 of {path}")
            same(entry.lfs.pointer_size, len(stored), f"pointer size of {path}")
    check(entries[BIG].lfs and entries["shards/part-0.bin"].lfs, "binary files are LFS files")
    check(not entries[EMPTY].lfs and not entries["README.md"].lfs, "text and empty files are not")
    if context.xet and hasattr(entries[BIG], "xet_hash"):
        check(entries[BIG].xet_hash, "a file uploaded by Xet has a Xet hash")
    expanded = list(api.list_repo_tree(repo, recursive=True, expand=True))  # several pages
    same_set((e.path for e in expanded), (e.path for e in items), "paths of the expanded tree")
    check(all(e.last_commit and e.last_commit.oid for e in expanded), "each has its last commit")
    inside = {e.path for e in api.list_repo_tree(repo, "nested/1/deep")}
    same_set(inside, [f"nested/1/deep/{i}" for i in range(3)], "one level of a subfolder")
    refused(EntryNotFoundError, api.list_repo_tree, repo, "no/such")
    return {"entries": len(items)}


@step
def infos(context: Context) -> Facts:
    api, repo = context.api, context.repo("tree")
    files = folder(context.seed)
    asked = [BIG, UNICODE, ODD, "nested/1", "no/such/file"]
    paths = {each.path: each for each in api.get_paths_info(repo, asked, expand=True)}
    same_set(paths, asked[:-1], "paths-info leaves out what is missing")
    same(paths[BIG].lfs.sha256, sha256(files[BIG]), f"sha256 of {BIG} by paths-info")
    info = api.repo_info(repo, files_metadata=True)
    siblings = {each.rfilename: each for each in info.siblings}
    same_set(siblings.keys() - {GIT_ATTRIBUTES, EDITED}, files, "siblings")
    for path, data in files.items():
        same(siblings[path].size, len(data), f"size of sibling {path}")
    same(siblings[BIG].lfs.sha256, sha256(files[BIG]), f"sha256 of sibling {BIG}")
    same(info.author, context.user, "author")
    same(info.card_data.license, "mit", "license of the card")
    check(info.created_at and info.last_modified >= info.created_at, "created, then modified")
    wanted = ["safetensors", "downloads", "tags", "pipeline_tag", "library_name", "sha"]
    model = api.model_info(repo, expand=wanted)
    same(model.sha, info.sha, "sha by expand")
    same(model.pipeline_tag, "text-generation", "pipeline_tag")
    same(model.library_name, "transformers", "library_name")
    same(model.safetensors.parameters, {"BF16": PARAMETERS}, "parameters by dtype")
    for tag in ("license:mit", "en", "fr", "headwater-test", "text-generation", "transformers"):
        check(tag in model.tags, f"tag {tag} among {model.tags}")
    same(model.siblings, None, "siblings, which were not asked for")
    return {"downloads": model.downloads}


@step
def existence(context: Context) -> Facts:
    api, repo = context.api, context.repo("tree")
    for path, there in {BIG: True, UNICODE: True, ODD: True, EMPTY: True, "nested": False}.items():
        same(api.file_exists(repo, path), there, f"file_exists {path}")
    same(api.file_exists(repo, "config.json", revision="nowhere"), False, "in a missing revision")
    same(api.revision_exists(repo, "main"), True, "revision_exists main")
    same(api.revision_exists(repo, api.repo_info(repo).sha), True, "revision_exists of a commit")
    same(api.revision_exists(repo, "nowhere"), False, "revision_exists of nothing")
    same(api.repo_exists(repo), True, "repo_exists")
    same(api.repo_exists(repo.upper()), True, "repo_exists ignores case")
    same(api.repo_exists(context.repo("nothing")), False, "repo_exists of nothing")
    same(api.repo_exists(repo, repo_type="dataset"), False, "repo_exists of another type")
    return {}


@step
def resume(context: Context) -> Facts:
    """Download the big file over connections that break: it must arrive whole, by resuming."""
    data = weights(context.seed)
    hub = urlsplit(context.endpoint)
    limit = CUT_XET_BYTES if context.xet else CUT_PLAIN_BYTES
    tries = 0
    with (
        scratch(context.work) as cache,
        CuttingProxy(hub.hostname or "", hub.port or 80, cut_after_bytes=limit, cuts=CUTS) as proxy,
    ):
        api = HfApi(endpoint=proxy.url, token=context.api.token)
        while True:
            tries += 1
            try:
                path = api.hf_hub_download(context.repo("tree"), BIG, cache_dir=cache)
                break
            except Exception as error:  # each release has its own error for a broken body
                if tries > CUTS:
                    raise Mismatch(f"still failing after {tries} tries: {error}") from error
        same_bytes(Path(path).read_bytes(), data, "a file fetched over broken connections")
        same(proxy.cuts_made, CUTS, "connections cut")
        sent = proxy.sent_bytes
    if not context.xet:
        check(sent <= len(data) + LOST_BYTES_MAX, f"{sent} bytes sent for {len(data)}: not resumed")
    return {"tries": tries, "sent_bytes": sent, "size_bytes": len(data)}


@step
def filesystem(context: Context) -> Facts:
    fs: Any = HfFileSystem(
        endpoint=context.endpoint, token=context.api.token, skip_instance_cache=True
    )
    repo, files = context.repo("tree"), folder(context.seed)
    same_set(fs.ls(f"{repo}/nested/2", detail=False), [f"{repo}/nested/2/deep"], "ls of a folder")
    same(fs.info(f"{repo}/{BIG}")["size"], len(files[BIG]), f"size of {BIG} by info")
    globbed = fs.glob(f"{repo}/nested/2/**/*.txt")
    wanted = [f"{repo}/{path}" for path in files if path.startswith("nested/2/")]
    same_set(globbed, wanted, "glob")
    same_bytes(fs.cat_file(f"{repo}/{UNICODE}"), files[UNICODE], "cat_file of a unicode name")
    with fs.open(f"{repo}/{BIG}", "rb", block_size=MIB) as handle:
        for at, size in ((50_000_000, 4096), (7, 100), (len(files[BIG]) - 50, 50)):
            handle.seek(at)
            same_bytes(handle.read(size), files[BIG][at : at + size], f"{size} bytes at {at}")
        same_bytes(handle.read(10), b"", "what follows the end")
    basic = context.repo("basic")
    wrote = text(f"{context.seed}/fs").decode()
    with fs.open(f"{basic}/fs/written.txt", "w", encoding="utf-8") as handle:
        handle.write(wrote)
    same_bytes(context.fetched(basic, "fs/written.txt"), wrote.encode(), "fs/written.txt")
    check(fs.exists(f"{basic}/fs/written.txt"), "the written file exists")
    fs.rm(f"{basic}/fs/written.txt")
    check(not context.api.file_exists(basic, "fs/written.txt"), "the removed file does not exist")
    return {}


@step
def listing(context: Context) -> Facts:
    api = context.api
    first, second, tree_id = context.repo("list-a"), context.repo("list-b"), context.repo("tree")
    api.create_repo(first)
    api.create_repo(second)
    api.upload_file(path_or_fileobj=b"newer", path_in_repo="x.txt", repo_id=first)

    def ids(**query: object) -> list[str]:
        return [model.id for model in api.list_models(author=context.user, **query)]

    everything = ids()
    for name in ("basic", "tree", "secret", "list-a", "list-b"):
        check(context.repo(name) in everything, f"{name} among {everything}")
    same(len(everything), len(set(everything)), "each model once")
    same_set(ids(search="list-"), [first, second], "search")
    same_set(ids(search="LIST-"), [first, second], "search in another case")
    same(ids(filter="headwater-test"), [tree_id], "filter by tag")
    same(ids(filter=["license:mit", "text-generation"]), [tree_id], "filter by two tags")
    same(ids(filter=["license:mit", "no-such-tag"]), [], "filter by a tag that nobody has")
    same(ids(sort="created_at", search="list-"), [second, first], "sort by creation")
    same(ids(sort="last_modified", search="list-"), [first, second], "sort by change")
    same(ids(sort="last_modified", limit=1, search="list-"), [first], "limit")
    counted = [model.downloads for model in api.list_models(author=context.user, sort="downloads")]
    same(counted, sorted(counted, reverse=True), "sort by downloads")
    full = {model.id: model for model in api.list_models(author=context.user, full=True)}
    check(full[tree_id].siblings and full[tree_id].sha, "full models have siblings and sha")
    public = [model.id for model in context.other(False).list_models(author=context.user)]
    check(context.repo("secret") not in public, "nobody sees a private model")
    check(tree_id in public, "everybody sees a public model")
    return {"models": len(everything)}
