"""Steps about discussions and pull requests, as people of two accounts have them."""

from __future__ import annotations

from typing import Any

from content import PIXEL, written
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from stepkit import Context, Facts, check, refused, same, same_bytes, same_set, step


def fresh(context: Context, name: str) -> str:
    repo = context.repo(name)
    context.api.create_repo(repo)
    return repo


def kinds(details: Any) -> list[str]:
    return [event.type for event in details.events]


@step
def discussion_from_opening_to_closing(context: Context) -> Facts:
    api, repo = context.api, fresh(context, "talk")
    guest = context.other(context.stranger)
    opened = guest.create_discussion(repo, "It does not load", description="**Why?**")
    same(opened.num, 1, "number of the first discussion")
    same((opened.status, opened.is_pull_request), ("open", False), "a discussion")
    same(opened.author, guest.whoami()["name"], "author")
    same(opened.events[0].content, "**Why?**", "the description is the first comment")
    same((opened.repo_id, opened.repo_type), (repo, "model"), "where it is")
    same(opened.url, f"{context.endpoint}/{repo}/discussions/1", "address")
    same((opened.diff, opened.conflicting_files, opened.target_branch), (None,) * 3, "no changes")

    said = api.comment_discussion(repo, 1, "Which version?")
    same((said.content, said.author, said.edited), ("Which version?", context.user, False), "said")
    edited = api.edit_discussion_comment(repo, 1, said.id, "Which release?")
    same(
        (edited.content, edited.edited, edited.number_of_edits), ("Which release?", True, 1), "edit"
    )
    same(edited.edit_history[0]["raw"], "Which version?", "what was said before the edit")
    check("Which release?" in edited.rendered, "a rendered text")
    same(edited.last_edited_by, context.user, "who edited")
    check(edited.last_edited_at >= edited.created_at, "edited after it was written")
    refused(HfHubHTTPError, guest.edit_discussion_comment, repo, 1, said.id, "mine", status=403)

    title = guest.rename_discussion(repo, 1, "It loads slowly")
    same((title.old_title, title.new_title), ("It does not load", "It loads slowly"), "title")
    closed = api.change_discussion_status(repo, 1, "closed", comment="Solved")
    same((closed.new_status, closed.type), ("closed", "status-change"), "status")
    refused(HfHubHTTPError, api.change_discussion_status, repo, 1, "closed", status=409)
    details = api.get_discussion_details(repo, 1)
    same(
        kinds(details),
        ["comment", "comment", "title-change", "comment", "status-change"],
        "what happened",
    )
    same((details.title, details.status), ("It loads slowly", "closed"), "in the end")
    api.change_discussion_status(repo, 1, "open")
    refused(HfHubHTTPError, api.get_discussion_details, repo, 99, status=404)
    return {}


@step
def hidden_comments(context: Context) -> Facts:
    api, repo = context.api, context.repo("talk")
    guest = context.other(context.stranger)
    said = guest.comment_discussion(repo, 1, "my password is hunter2")
    hidden = api.hide_discussion_comment(repo, 1, said.id)
    same((hidden.hidden, hidden.id), (True, said.id), "a hidden comment")
    nobody = context.other(False).get_discussion_details(repo, 1).events[-1]
    check(nobody.hidden, "hidden for all")
    check("hunter2" not in str(nobody), "a hidden text is not shown to strangers")
    return {}


@step
def listing_of_discussions(context: Context) -> Facts:
    api, repo = context.api, fresh(context, "many-talks")
    guest = context.other(context.stranger)
    name = guest.whoami()["name"]
    for number in range(1, 53):  # two pages
        who = guest if number % 2 else api
        who.create_discussion(repo, f"Talk {number}")
    draft = api.create_pull_request(repo, "Propose", description="words")
    same((draft.num, draft.status, draft.is_pull_request), (53, "draft", True), "a draft")
    api.change_discussion_status(repo, 7, "closed")

    def listed(**filters: str) -> list[int]:
        return [one.num for one in api.get_repo_discussions(repo, **filters)]

    same(listed(), list(range(53, 0, -1)), "all, newest first")
    same(listed(discussion_type="pull_request"), [53], "pull requests")
    same(len(listed(discussion_type="discussion")), 52, "discussions")
    same(listed(discussion_status="closed"), [7], "closed ones")
    same(len(listed(discussion_status="open")), 52, "open ones")
    same(listed(author=name), [n for n in range(51, 0, -1) if n % 2], "those of one author")
    same(listed(author=name, discussion_status="closed"), [7], "filters together")
    same(listed(author="nobody-of-that-name"), [], "an author who wrote none")
    return {}


@step
def pull_request_to_merge(context: Context) -> Facts:
    api, repo = context.api, fresh(context, "merged")
    guest = context.other(context.stranger)
    api.upload_file(path_or_fileobj=b"1\n2\n3\n4\n5\n", path_in_repo="notes.txt", repo_id=repo)
    draft = guest.create_pull_request(repo, "Better notes", description="In words")
    same(draft.git_reference, f"refs/pr/{draft.num}", "its ref")
    refused(HfHubHTTPError, api.merge_pull_request, repo, draft.num, status=409)
    weights = bytes(range(256)) * 5000
    made = guest.create_commit(
        repo,
        [
            CommitOperationAdd("notes.txt", b"one\n2\n3\n4\n5\n"),
            CommitOperationAdd("weights.bin", weights),
        ],
        commit_message="Spell it out",
        revision=draft.git_reference,
    )
    api.upload_file(path_or_fileobj=b"1\n2\n3\n4\nfive\n", path_in_repo="notes.txt", repo_id=repo)
    guest.change_discussion_status(repo, draft.num, "open")
    details = api.get_discussion_details(repo, draft.num)
    same(kinds(details), ["comment", "commit", "status-change"], "what happened")
    same((details.events[1].oid, details.events[1].summary), (made.oid, "Spell it out"), "commit")
    same((details.conflicting_files, details.target_branch), ([], "refs/heads/main"), "target")
    check("-1\n+one\n" in details.diff, "the diff shows the line")
    check("git-lfs" in details.diff, "a large file is its pointer")
    refused(HfHubHTTPError, guest.merge_pull_request, repo, draft.num, status=403)
    api.merge_pull_request(repo, draft.num, comment="Thanks")
    merged = api.get_discussion_details(repo, draft.num)
    same((merged.status, merged.events[-1].new_status), ("merged", "merged"), "merged")
    same(merged.merge_commit_oid, api.repo_info(repo).sha, "the merge commit is main's head")
    same_bytes(context.fetched(repo, "notes.txt"), b"one\n2\n3\n4\nfive\n", "both changes")
    same_bytes(context.fetched(repo, "weights.bin"), weights, "the large file, merged")
    refused(HfHubHTTPError, api.merge_pull_request, repo, draft.num, status=409)
    return {}


@step
def pull_request_in_conflict(context: Context) -> Facts:
    api, repo = context.api, context.repo("merged")
    guest = context.other(context.stranger)
    commit = guest.create_commit(
        repo,
        [CommitOperationAdd("notes.txt", b"theirs\n"), CommitOperationAdd("fine.txt", b"fine")],
        commit_message="Theirs",
        commit_description="With a reason",
        create_pr=True,
    )
    num = commit.pr_num
    first = api.get_discussion_details(repo, num).events[0]
    same((first.type, first.content), ("comment", "With a reason"), "the first comment")
    api.upload_file(path_or_fileobj=b"ours\n", path_in_repo="notes.txt", repo_id=repo)
    head = api.repo_info(repo).sha
    same(api.get_discussion_details(repo, num).conflicting_files, ["notes.txt"], "conflicts")
    try:
        api.merge_pull_request(repo, num)
    except HfHubHTTPError as error:
        same(error.response.status_code, 409, "status of a conflict")
        check("notes.txt" in str(error), "the message names the file")
    else:
        check(False, "a conflict is refused")
    same(api.repo_info(repo).sha, head, "main after a conflict")
    guest.upload_file(
        path_or_fileobj=b"ours\n", path_in_repo="notes.txt", repo_id=repo, revision=f"refs/pr/{num}"
    )
    api.merge_pull_request(repo, num)
    same_set(
        [name for name in api.list_repo_files(repo) if name.endswith(".txt")],
        ["notes.txt", "fine.txt"],
        "files after the merge",
    )
    return {}


@step
def private_discussions(context: Context) -> Facts:
    api, repo = context.api, context.repo("private-talk")
    api.create_repo(repo, private=True)
    api.create_discussion(repo, "Only for us")
    guest = context.other(context.stranger)
    listing = guest.get_repo_discussions
    refused(RepositoryNotFoundError, listing, repo)
    refused(RepositoryNotFoundError, guest.get_discussion_details, repo, 1)
    refused(RepositoryNotFoundError, guest.create_discussion, repo, "Let me in")
    refused(RepositoryNotFoundError, guest.comment_discussion, repo, 1, "hello")
    return {}


@step
def attachments(context: Context) -> Facts:
    api = context.api
    if not hasattr(api, "upload_attachment"):
        return {"skipped": "this release cannot attach files"}
    written({"pixel.png": PIXEL, "page.png": b"<script>alert(1)</script>"}, context.work / "shown")
    url = api.upload_attachment(context.work / "shown" / "pixel.png")
    check(url.startswith(f"{context.endpoint}/uploads/"), f"an address of the hub: {url}")
    refused(HfHubHTTPError, api.upload_attachment, context.work / "shown" / "page.png", status=400)
    said = api.comment_discussion(context.repo("talk"), 1, f"![pixel]({url})")
    check(url in said.content, "the picture is in the comment")
    return {"url": url}
