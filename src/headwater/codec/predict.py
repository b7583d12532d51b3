"""Predictions of a tensor's bytes from other tensors' bytes: pure, and the same on every CPU.

    from_json(text) -> Prediction                    strict: Malformed for anything unknown
    needs(prediction, target, parents, start, stop)  which bytes of each parent
    predict(…, parts) -> bytes                       exactly stop - start of them
    search(target, read, candidates) -> [Found]      predictions that hold on samples, best first

Only elementwise IEEE operations in a fixed order: no matrix product, no sum whose order a library
may choose. Nothing is raised or warned of whatever the bytes are; only kinds and ranges that do not
fit are Malformed. A prediction that is not right costs space, never bytes: the store keeps what
differs.
"""

from headwater.codec.predictions.apply import from_json, needs, predict
from headwater.codec.predictions.kinds import TensorKind
from headwater.codec.predictions.prediction import Prediction
from headwater.codec.predictions.samples import Candidate, Found, Reader
from headwater.codec.predictions.search import search

__all__ = [
    "Candidate",
    "Found",
    "Prediction",
    "Reader",
    "TensorKind",
    "from_json",
    "needs",
    "predict",
    "search",
]
