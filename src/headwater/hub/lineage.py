"""Who descends from whom, over HTTP, as far as the caller may see it.

    GET /api/models/{id}/lineage            parents, family, contradictions, licences
    GET /api/models/{id}/lineage/nearest    whom each of its models was compared with
    GET /api/models/{id}/lineage/tree       the family: ?format=json, mermaid, svg or text
    GET /api/models/{id}/lineage/bom        ?format=cyclonedx or spdx, its ancestry with it

Nothing here waits for weights to be read: what was not looked at yet is `waiting`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headwater import __version__
from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.catalog.rights import demand_file
from headwater.catalog.sketches import Held
from headwater.errors import BadRequest, HeadwaterError
from headwater.family.contradictions import contradictions, says_scratch
from headwater.family.cyclonedx import cyclonedx
from headwater.family.draw import mermaid, svg, text
from headwater.family.graph import Edge, Graph, Node
from headwater.family.licences import conflicts, unknown_above
from headwater.family.spdx import spdx
from headwater.hub.context import Hub
from headwater.hub.replies import base_url, json_reply
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.names import RepoPath

README_BYTES_MAX = 2**20  # looked through for what it says of training
TREES = ("json", "mermaid", "svg", "text")
BOMS = ("cyclonedx", "spdx")
# An SVG of ours has no script; should one ever get in, it may do nothing.
SVG_HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox"}


class LineageRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        at = "/api/models/{id}/lineage"
        return [
            Route("GET", at, self.of, "see"),
            Route("GET", f"{at}/nearest", self.nearest, "see"),
            Route("GET", f"{at}/tree", self.tree, "see", query=("format",), answers=(400,)),
            Route("GET", f"{at}/bom", self.bom, "see", query=("format",), answers=(400,)),
        ]

    def of(self, request: Request, params: Params) -> Response:
        actor, repo = self._asked(request, params)
        graph = self.hub.catalog.families.of(actor, repo)
        strangers = self.hub.catalog.families.strangers(actor, repo)
        scratch = says_scratch(self._card(actor, repo))
        held = self.hub.catalog.sketches.units([repo.id]).get(repo.id, [])
        name = repo.full
        return json_reply({
            "id": name,
            "models": self._models(actor, repo, held),
            "parents": [edge_json(edge) for edge in graph.parents(name)],
            "family": {
                "roots": graph.roots(name),
                "depth": graph.depth(name),
                "baseShare": {root: round(part, 4) for root, part in graph.shares(name).items()},
                "ancestors": len(graph.above(name)),
                "descendants": len(graph.below(name)),
            },
            "contradictions": [
                {"kind": one.kind, "parent": one.parent, "says": one.line}
                for one in contradictions(graph, name, strangers, scratch=scratch)
            ],
            "license": {
                "id": graph.nodes[name].license,
                "conflicts": [
                    {"ancestor": one.ancestor, "ancestorLicense": one.ancestor_license,
                     "missing": list(one.missing), "via": list(one.via), "says": one.line}
                    for one in conflicts(graph, name)
                ],
                "unknownAbove": list(unknown_above(graph, name)),
            },
        })  # fmt: skip

    def nearest(self, request: Request, params: Params) -> Response:
        actor, repo = self._asked(request, params)
        found = self.hub.catalog.families.models(actor, repo)
        shown = self._models(actor, repo, [held for held, _ in found])
        models = [
            model
            | {
                "nearest": [
                    {
                        "id": near.repo,
                        "path": near.path,
                        "related": near.relation.related,
                        "kind": near.relation.kind,
                        "child": {"one": near.repo, "other": repo.full}.get(near.relation.child),
                        **_figures(near.relation.log10_p, near.relation.change,
                                   near.relation.unchanged),
                        "evidence": list(near.relation.evidence),
                    }
                    for near in others
                ]
            }
            for model, (_, others) in zip(shown, found, strict=True)
        ]  # fmt: skip
        return json_reply({"id": repo.full, "models": models})

    def tree(self, request: Request, params: Params) -> Response:
        form = _form(request, TREES)
        actor, repo = self._asked(request, params)
        graph = self.hub.catalog.families.of(actor, repo)
        if form == "svg":
            return Response(svg(graph, repo.full), media_type="image/svg+xml", headers=SVG_HEADERS)
        if form != "json":
            drawn = mermaid(graph, repo.full) if form == "mermaid" else text(graph, repo.full)
            return Response(drawn, media_type="text/plain; charset=utf-8")
        return json_reply(graph_json(graph, repo.full))

    def bom(self, request: Request, params: Params) -> Response:
        make = cyclonedx if _form(request, BOMS) == "cyclonedx" else spdx
        actor, repo = self._asked(request, params)
        graph = self.hub.catalog.families.of(actor, repo)
        made = make(
            graph, repo.full, tool_version=__version__, base_url=base_url(request),
            at=datetime.now(UTC),
        )  # fmt: skip
        return json_reply(made)

    def _asked(self, request: Request, params: Params) -> tuple[Actor, Repo]:
        actor = self.hub.actor(request)
        return actor, self.hub.catalog.repos.find(actor, "model", params["id"], "see")

    def _models(self, actor: Actor, repo: Repo, units: Sequence[Held]) -> list[dict[str, Any]]:
        traced = self.hub.catalog.families.traced(actor, repo, units)
        return [
            _model(unit, traced[unit.key])
            if unit.key in traced
            else _model(replace(unit, state=None, reason=None), None)
            for unit in units
        ]

    def _card(self, actor: Actor, repo: Repo) -> str:
        """The text of its card on `main`; empty without one, and for whoever may not read it."""
        try:
            demand_file(actor, repo, "README.md")
            tree = self.hub.catalog.refs.resolve(repo, "main").tree
            entry = self.hub.catalog.files.find(repo, tree, RepoPath("README.md"))
            if entry.lfs is not None or entry.size_bytes > README_BYTES_MAX:
                return ""
            return self.hub.catalog.files.read(repo, entry).decode("utf-8", "replace")
        except HeadwaterError:
            return ""


def graph_json(graph: Graph, focus: str) -> dict[str, Any]:
    """A family as the tree route and the command give it."""
    return {
        "id": focus,
        "nodes": [_node(node) for node in graph.nodes.values()],
        "edges": [edge_json(edge) for edge in graph.edges],
    }


def edge_json(edge: Edge) -> dict[str, Any]:
    """One edge; `inferred` is null where only the card says so."""
    found = edge.inferred
    weights: Mapping[str, Any] | None = None
    if found is not None:
        weights = {
            "kind": found.kind,
            "decided": found.decided,
            "weight": round(found.weight, 4),
            **_figures(found.log10_p, found.change, found.unchanged),
            "path": found.child_path,
            "parentPath": found.parent_path,
            "evidence": list(found.evidence),
        }
    return {
        "child": edge.child,
        "parent": edge.parent,
        "kind": edge.kind,
        "declared": edge.declared,
        "inferred": weights,
    }


def _figures(log10_p: float, change: float, unchanged: float) -> dict[str, float | None]:
    return {
        "log10P": round(log10_p, 2),
        "change": round(change, 6) if math.isfinite(change) else None,
        "unchanged": round(unchanged, 6),
    }


def _node(node: Node) -> dict[str, Any]:
    return {"id": node.name, "here": node.here, "license": node.license,
            "parameters": node.parameters}  # fmt: skip


def _model(unit: Held, reason: str | None) -> dict[str, Any]:
    """`reason`: why it was not traced, though it was sketched."""
    words = {"made": "compared", "none": "no layers", "failed": "failed", None: "waiting"}
    return {
        "path": unit.path,
        "size": unit.size_bytes,
        "state": words[unit.state] if reason is None else "failed",
        "reason": reason or unit.reason,
    }


def _form(request: Request, known: tuple[str, ...]) -> str:
    asked = request.query_params.get("format", known[0])
    if asked not in known:
        raise BadRequest(f"format is one of {', '.join(known)}")
    return asked
