"""Steps about commits and names for them: branches, tags, pull requests, log, stale parents."""

from __future__ import annotations

from content import noise, text
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError
from stepkit import Context, Facts, check, refused, same, same_bytes, same_set, step


@step
def branches(context: Context) -> Facts:
    api, repo = context.api, context.repo("basic")
    data = noise(f"{context.seed}/branch", 200_000)
    for name in ("dev", "feature/x"):
        api.create_branch(repo, branch=name)
        api.create_branch(repo, branch=name, exist_ok=True)
        refused(HfHubHTTPError, api.create_branch, repo, status=409, branch=name)
        api.upload_file(
            path_or_fileobj=data, path_in_repo="only/branch.bin", repo_id=repo, revision=name
        )
        same_bytes(context.fetched(repo, "only/branch.bin", revision=name), data, f"file of {name}")
        check(api.revision_exists(repo, name), f"branch {name} exists")
    check(not api.file_exists(repo, "only/branch.bin"), "main knows nothing of the branches' file")
    refs = api.list_repo_refs(repo)
    same_set((b.name for b in refs.branches), ["main", "dev", "feature/x"], "branches")
    tip = {b.name: b.target_commit for b in refs.branches}
    same(api.repo_info(repo, revision="feature/x").sha, tip["feature/x"], "tip of feature/x")
    first = api.list_repo_commits(repo)[-1].commit_id
    api.create_branch(repo, branch="old", revision=first)
    same(api.repo_info(repo, revision="old").sha, first, "start of a branch at a commit")
    for name in ("dev", "feature/x", "old"):
        api.delete_branch(repo, branch=name)
        check(not api.revision_exists(repo, name), f"deleted branch {name} does not exist")
    refused(RevisionNotFoundError, context.fetched, repo, "only/branch.bin", revision="dev")
    refused(HfHubHTTPError, api.delete_branch, repo, branch="main")
    return {}


@step
def tags(context: Context) -> Facts:
    api, repo = context.api, context.repo("basic")
    tagged = api.repo_info(repo).sha
    api.create_tag(repo, tag="v1.0", tag_message="The first")
    api.create_tag(repo, tag="v1.0", exist_ok=True)
    refused(HfHubHTTPError, api.create_tag, repo, status=409, tag="v1.0")
    refused(RevisionNotFoundError, api.create_tag, repo, tag="v2", revision="nowhere")
    api.upload_file(path_or_fileobj=b"after the tag", path_in_repo="later.txt", repo_id=repo)
    same_set((t.name for t in api.list_repo_refs(repo).tags), ["v1.0"], "tags")
    same(api.repo_info(repo, revision="v1.0").sha, tagged, "commit of the tag")
    data = context.fetched(repo, "notes.txt", revision="v1.0")
    same_bytes(data, text(context.seed), "notes.txt at the tag")
    refused(EntryNotFoundError, context.fetched, repo, "later.txt", revision="v1.0")
    api.delete_tag(repo, tag="v1.0")
    refused(RevisionNotFoundError, api.delete_tag, repo, tag="v1.0")
    return {}


@step
def pull_request(context: Context) -> Facts:
    api, repo = context.api, context.repo("basic")
    before = api.repo_info(repo).sha
    files = {
        "proposal.txt": text(f"{context.seed}/pr"),
        "pr.bin": noise(f"{context.seed}/pr", 10**6),
    }
    commit = api.create_commit(
        repo,
        [CommitOperationAdd(path, data) for path, data in files.items()],
        commit_message="Propose",
        create_pr=True,
    )
    revision = commit.pr_revision
    same(revision, f"refs/pr/{commit.pr_num}", "revision of the pull request")
    more = text(f"{context.seed}/pr2")
    api.upload_file(path_or_fileobj=more, path_in_repo="more.txt", repo_id=repo, revision=revision)
    for path, data in {**files, "more.txt": more}.items():
        same_bytes(context.fetched(repo, path, revision=revision), data, f"{path} of {revision}")
        check(not api.file_exists(repo, path), f"main has no {path}")
    same(api.repo_info(repo).sha, before, "main, untouched by a pull request")
    listed = api.list_repo_refs(repo, include_pull_requests=True).pull_requests
    check(revision in [ref.ref for ref in listed], f"{revision} is among the refs")
    check(not api.list_repo_refs(repo).pull_requests, "pull requests are listed only when asked")
    paths = [each.path for each in api.list_repo_tree(repo, revision=revision)]
    check("proposal.txt" in paths, f"the tree of {revision} shows its file")
    return {"revision": revision}


@step
def stale_parent(context: Context) -> Facts:
    api, repo = context.api, context.repo("basic")
    old = api.repo_info(repo).sha
    new = api.upload_file(
        path_or_fileobj=b"one", path_in_repo="race.txt", repo_id=repo, parent_commit=old
    )

    def late() -> object:
        return api.create_commit(
            repo,
            [CommitOperationAdd("race.txt", b"two")],
            commit_message="Too late",
            parent_commit=old,
        )

    refused(HfHubHTTPError, late, status=412)
    same(api.repo_info(repo).sha, new.oid, "main after a refused commit")
    same_bytes(context.fetched(repo, "race.txt"), b"one", "race.txt")
    return {}


@step
def log(context: Context) -> Facts:
    api, repo = context.api, context.repo("basic")
    commits = api.list_repo_commits(repo)
    same(len({commit.commit_id for commit in commits}), len(commits), "distinct commit ids")
    same(commits[0].commit_id, api.repo_info(repo).sha, "the newest commit comes first")
    same(commits[-1].title, "initial commit", "title of the first commit")
    dates = [commit.created_at for commit in commits]
    same(dates, sorted(dates, reverse=True), "dates, newest first")
    check(context.user in commits[0].authors, f"{context.user} wrote {commits[0].authors}")
    old = api.list_repo_commits(repo, revision=commits[2].commit_id)
    same(
        [commit.commit_id for commit in old],
        [commit.commit_id for commit in commits[2:]],
        "the log from an older commit",
    )
    formatted = api.list_repo_commits(repo, formatted=True)
    check(formatted[0].formatted_title, "a formatted title when asked")
    refused(RevisionNotFoundError, api.list_repo_commits, repo, revision="nowhere")
    return {"commits": len(commits)}
