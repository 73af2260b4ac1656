"""Which requests share a call of `predict`, and whether that is proved for the model."""

import hashlib
import logging
import pickle
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config import Config
from ..signature import Signature
from .calls import Call
from .independence import Finding, Tolerance, examined, tried

logger = logging.getLogger(__name__)

FIRST = 8  # shared calls of a likeness that are checked
FIRST_UNKNOWN = 32  # where nothing is known of the model's rows
EVERY = 1000  # one in so many is checked after that
MOST_CHECKED = 16  # requests of a shared call that is checked: the others wait meanwhile
MOST_LIKENESSES = 1024  # that are remembered
LONG = 256  # bytes; longer ones are compared by their hash

Likeness = Callable[[Any], Hashable]
Predict = Callable[[dict[str, Any]], Any]


@dataclass(slots=True)
class Trust:
    """What is known of a likeness.

    Attributes:
        shared: how many calls were shared.
        agreed: how many of them were checked, and agreed.
        keys: the keys of the responses that were compared.
    """

    shared: int = 0
    agreed: int = 0
    keys: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Group:
    """Requests that may share a call of `predict`, in order of arrival.

    Attributes:
        likeness: equal for groups that were proved together.
        calls: the requests.
        rows: how many rows they have.
        trust: what is known of their likeness.
    """

    likeness: Hashable
    calls: list[Call] = field(default_factory=list)
    rows: int = 0
    trust: Trust | None = None

    def parted(self, count: int) -> tuple["Group", "Group"]:
        """The first requests, and the others."""
        first, rest = self.calls[:count], self.calls[count:]
        return (
            Group(self.likeness, first, sum(call.rows for call in first), self.trust),
            Group(self.likeness, rest, sum(call.rows for call in rest)),
        )


class Sharing:
    """Decides which requests share a call of `predict`. One wrong answer ends that for the model.

    The first shared calls of each likeness, and one in a thousand after, are to be checked: each
    request is computed alone too, and that answer is given.

    Args:
        max_batch_size: how many rows may share a call; 1 turns sharing off.
        likeness: of rows, as `Signature.likeness`.
        independent: whether the model's rows are, as `config.yaml` says; None for what is unknown.
        tolerance: what is taken for noise of the batch's size.
        first: how many shared calls of a likeness are checked; by default few where the rows are
            known to be independent, and more where nothing is known. 0 checks none.
    """

    def __init__(
        self,
        max_batch_size: int,
        likeness: Likeness,
        independent: bool | None = None,
        tolerance: Tolerance | None = None,
        first: int | None = None,
    ) -> None:
        self.max_batch_size = max_batch_size
        if independent is False:
            self.max_batch_size = 1
        if first is None:
            first = FIRST if independent else FIRST_UNKNOWN
        self._likeness = likeness
        self._tolerance = tolerance or Tolerance()
        self._first = first
        self._trusts: dict[Hashable, Trust] = {}
        self._ended = 0
        self._found: Finding | None = None

    def groups(self, calls: list[Call]) -> list[Group]:
        """Groups of requests that may share a call, in order of arrival."""
        groups: list[Group] = []
        open_groups: dict[Hashable, Group] = {}
        for call in calls:
            key = self._key(call)
            group = open_groups.get(key)
            if key is None or group is None or group.rows + call.rows > self.max_batch_size:
                group = open_groups[key] = Group(key)
                groups.append(group)
            group.calls.append(call)
            group.rows += call.rows
        return groups

    def is_due(self, group: Group) -> bool:
        """Whether the next call of a group is to be checked."""
        if not self._first:
            return False
        group.trust = trust = self._trust(group)
        trust.shared += 1
        return trust.agreed < self._first or trust.shared % EVERY == 0

    def is_known(self, group: Group, response: dict[str, Any]) -> bool:
        """Whether a response of a group has only keys that were compared."""
        return group.trust is None or response.keys() <= group.trust.keys

    def check(
        self, group: Group, calls: list[Call], alone: Sequence[Any], predict: Predict
    ) -> None:
        """Compare a shared call with what each request got alone.

        Args:
            group: the requests.
            calls: at least two of them, which have predictions.
            alone: what `predict` returned for each of these.
            predict: the model's.
        """
        finding = examined(predict, calls, alone, self._tolerance)
        if finding.reason is not None:
            self.end(finding)
            return
        if group.trust is not None:
            group.trust.agreed += 1
            group.trust.keys.update(*alone)

    def try_rows(self, calls: list[Call], predict: Predict) -> Finding | None:
        """Try whether the rows of requests are independent; None if none can be tried.

        Once something has ended sharing, it is what was found then.

        Raises:
            BaseException: `predict` cannot answer one of them alone.
        """
        if self.max_batch_size == 1:
            return self._found
        groups = [group for group in self.groups(calls) if len(group.calls) > 1]
        tries = (tried(predict, group.calls, self._tolerance) for group in groups)
        findings = [finding for finding in tries if finding is not None]
        if not findings:
            return None
        return max(findings, key=lambda finding: (finding.reason is not None, finding.noise))

    def end(self, finding: Finding) -> None:
        """End sharing for the model, and say why."""
        if self.max_batch_size == 1:
            return
        self.max_batch_size = 1
        self._ended, self._found = 1, finding
        logger.warning("requests no longer share a call of predict: %s", finding)

    def take_ended(self) -> int:
        """1 if an answer has ended sharing since this was last asked, else 0."""
        ended, self._ended = self._ended, 0
        return ended

    def _trust(self, group: Group) -> Trust:
        """Bodies that are equal prove nothing for others."""
        first = group.calls[0].frame.body
        key = group.likeness, all(call.frame.body == first for call in group.calls)
        trust = self._trusts.get(key)
        if trust is None:
            if len(self._trusts) >= MOST_LIKENESSES:
                del self._trusts[next(iter(self._trusts))]
            trust = self._trusts[key] = Trust()
        return trust

    def _key(self, call: Call) -> Hashable:
        """Equal for requests that may share a call; None for one that may not."""
        request = call.request
        if type(request) is not dict:
            return None
        instances = request.get("instances")
        if not isinstance(instances, (list, np.ndarray)):
            return None
        if not 0 < len(instances) <= self.max_batch_size:
            return None
        rows = self._likeness(instances)
        if rows is None:
            return None
        others: bytes | None = b""
        if len(request) > 1:
            others = _others(request)
        if others is None:
            return None
        return call.frame.kind, type(instances), rows, others, call.apart


def _others(request: dict[str, Any]) -> bytes | None:
    """Bytes that are equal only for equal other keys; None for values that cannot be pickled."""
    others = {key: value for key, value in request.items() if key != "instances"}
    try:
        pickled = pickle.dumps(others)
    except Exception:
        return None
    if len(pickled) > LONG:
        return hashlib.sha256(pickled).digest()
    return pickled


def of_config(config: Config) -> Sharing:
    """What decides for a model and its settings."""
    model, size = config.model, config.serving.max_batch_size
    tolerance = Tolerance.of_model(model)
    if fixed := fixed_size(config):
        size, tolerance = min(size, fixed), Tolerance(0.0)
    likeness = Signature(model.input).likeness
    return Sharing(size, likeness, model.rows_independent, tolerance)


def fixed_size(config: Config) -> int:
    """The number of rows of each call of `predict`; 0 for as many as came."""
    size = config.serving.fixed_batch_size
    if size and not config.model.rows_independent:
        logger.warning(
            "serving.fixed_batch_size in config.yaml is not used: it fills up a call with copies of"
            " a row, for which model.rows_independent must be true"
        )
        return 0
    return size
