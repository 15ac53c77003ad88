# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One engine for every module of this collection that declares an AWS resource.

A module describes its resource as a DeclaredResource: how to read it as a normalised dict, what
the options ask for in the same shape, and how to create, update and delete it.  The engine compares
the two dicts; they decide C(changed), they are the diff, and check mode stops just before the write.

    class Queue(DeclaredResource):
        kind = "queue"
        def current(self): ...
        def desired(self, current): ...

    def main():
        module = AnsibleAWSModule(argument_spec=..., supports_check_mode=True)
        run(module, Queue)
"""

from __future__ import annotations

import copy
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, TypeVar

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:  # AnsibleAWSModule reports the missing library
    BotoCoreError = ClientError = Exception  # type: ignore[misc, assignment]

State = Dict[str, Any]
T = TypeVar("T")

# The option of every module that can also remove what it declares.
STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}

# Answers after which the same call is worth repeating; botocore already repeats throttling a few times.
TRANSIENT_CODES = (
    "InternalError",
    "InternalFailure",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
)
ATTEMPTS = 6
# How most operations name the position in a list, and where an answer has the next one.
NEXT_TOKEN: Tuple[str, Callable[[Mapping[str, Any]], Optional[str]]] = (
    "NextToken",
    lambda page: page.get("NextToken"),
)


class DeclaredResourceError(Exception):
    """A resource could not be read or brought to its declared state.

    C(code) is the AWS error code, or None when the failure is not an answer of AWS.
    """

    def __init__(self, message: str, code: Optional[str] = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class DeadlineExceeded(DeclaredResourceError):
    """A resource did not reach the awaited condition in time."""


def error_code(exception: BaseException) -> Optional[str]:
    """Return the AWS error code of a botocore exception, None when it has none."""
    response = getattr(exception, "response", None) or {}
    code = response.get("Error", {}).get("Code")
    return str(code) if code is not None else None


def call(
    action: str,
    method: Callable[..., T],
    missing: Sequence[str] = (),
    pause: Callable[[float], None] = time.sleep,
    **arguments: Any,
) -> Optional[T]:
    """Call one operation of a boto3 client and speak plainly about its failure.

    C(action) completes the sentence "could not ...".  An error code listed in C(missing) returns None
    (the thing is not there).  Transient answers are repeated with back-off (1, 2, 4 ... seconds).
    Raises DeclaredResourceError.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return method(**arguments)
        except ClientError as exception:
            if error_code(exception) in missing:
                return None
            _raise_unless_repeatable(action, exception, attempt)
        except BotoCoreError as exception:
            raise DeclaredResourceError(f"could not {action}: {exception}") from exception
        pause(float(min(2 ** (attempt - 1), 8)))
    return None  # unreachable: the last attempt returns or raises


def _raise_unless_repeatable(action: str, exception: BaseException, attempt: int) -> None:
    code = error_code(exception)
    if code not in TRANSIENT_CODES or attempt == ATTEMPTS:
        raise DeclaredResourceError(f"could not {action}: {exception}", code) from exception


def pages(
    action: str,
    method: Callable[..., Any],
    items: Callable[[Mapping[str, Any]], Iterable[T]],
    token: Tuple[str, Callable[[Mapping[str, Any]], Optional[str]]] = NEXT_TOKEN,
    **arguments: Any,
) -> Iterator[T]:
    """Yield every item of an operation that answers in pages.

    C(token) is the request's name for the position and how to find the next one in an answer.
    """
    name, following = token
    while True:
        page = call(action, method, **arguments)
        yield from items(page or {})
        position = following(page or {})
        if not position:
            return
        arguments[name] = position


def wait_until(
    what: str,
    probe: Callable[[], T],
    reached: Callable[[T], bool],
    deadline: float,
    interval: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> T:
    """Poll C(probe) every C(interval) seconds until C(reached) accepts its answer, and return that.

    Raises DeadlineExceeded, naming C(what) and the last answer, after C(deadline) seconds.
    """
    end = clock() + deadline
    while True:
        answer = probe()
        if reached(answer):
            return answer
        if clock() + interval > end:
            raise DeadlineExceeded(f"{what} was not reached within {deadline:g} s; last seen: {answer!r}")
        pause(interval)


def declared(options: Mapping[str, Any]) -> State:
    """Return the options that were given: those that are not None, at every depth."""
    return {key: _without_none(value) for key, value in options.items() if value is not None}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return declared(value)
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value


def overlay(current: Optional[Mapping[str, Any]], wanted: Mapping[str, Any]) -> State:
    """Return C(wanted) where it says something (not None), else what C(current) holds."""
    merged = copy.deepcopy(dict(current or {}))
    for key, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = overlay(merged[key], value)
        elif value is not None or key not in merged:
            merged[key] = copy.deepcopy(value)
    return merged


def desired_tags(
    current: Optional[Mapping[str, str]], wanted: Optional[Mapping[str, str]], purge: bool
) -> Dict[str, str]:
    """Return the tags a resource is to have; None leaves them, C(purge) drops what is not declared.

    Tags whose keys begin with C(aws:) are AWS's own, which nobody else can remove.
    """
    kept = dict(current or {})
    if wanted is None:
        return kept
    if purge:
        kept = {key: value for key, value in kept.items() if key.startswith("aws:")}
    kept.update({str(key): str(value) for key, value in wanted.items()})
    return kept


def tag_changes(current: Mapping[str, str], wanted: Mapping[str, str]) -> Tuple[Dict[str, str], List[str]]:
    """Return the tags to set and the tag keys to remove."""
    to_set = {key: value for key, value in wanted.items() if current.get(key) != value}
    return to_set, sorted(set(current) - set(wanted))


def add_ec2_tags(ec2: Any, resource_id: str, current: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Set those tags of a resource of EC2 that differ; none is removed."""
    to_set, _to_remove = tag_changes(current, wanted)
    if to_set:
        call(f"tag {resource_id}", ec2.create_tags, Resources=[resource_id], Tags=tag_list(to_set))


def tag_list(tags: Mapping[str, str]) -> List[Dict[str, str]]:
    """Return tags in the Key/Value list form of most AWS services, sorted by key."""
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def tag_dict(tags: Optional[Iterable[Mapping[str, str]]]) -> Dict[str, str]:
    """Return a Key/Value list of tags as a dict."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags or []}


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> List[str]:
    """Return the sorted top-level keys in which two states differ."""
    absent = object()
    keys = set(before) | set(after)
    return sorted(key for key in keys if before.get(key, absent) != after.get(key, absent))


def conceal(before: State, after: State, path: Sequence[str]) -> None:
    """Replace, in both copies, the secret at C(path), saying only whether it differs.

    Ansible hides the declared value by itself, but not the old one that AWS still holds.
    """
    old, new = _take(before, path), _take(after, path)
    differs = old is not None and new is not None and old != new
    _put(before, path, old, "(hidden, differs)" if differs else "(hidden)")
    _put(after, path, new, "(hidden, declared)" if differs else "(hidden)")


def _take(state: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = state
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _put(state: State, path: Sequence[str], old: Any, value: str) -> None:
    if old is None:
        return
    for key in path[:-1]:
        state = state[key]
    state[path[-1]] = value


class DeclaredResource:
    """One AWS resource as its module declares it.  Subclasses give the six parts below.

    C(module) offers C(params), C(check_mode), C(client(service)) and C(warn(text)): an AnsibleAWSModule,
    or a small object in unit tests.
    """

    kind = "resource"

    def __init__(self, module: Any) -> None:
        self.module = module
        self.params: Dict[str, Any] = module.params

    def current(self) -> Optional[State]:
        """Read the resource and return its normalised state, None when it does not exist."""
        raise NotImplementedError

    def desired(self, current: Optional[State]) -> State:
        """Return the state that the options ask for, in the shape of C(current).

        What the options leave open (None) is taken from C(current).
        """
        raise NotImplementedError

    def create(self, desired: State) -> None:
        """Create the resource and wait until it can be used."""
        raise NotImplementedError

    def update(self, current: State, desired: State) -> None:
        """Bring the existing resource from C(current) to C(desired)."""
        raise NotImplementedError

    def delete(self, current: State) -> None:
        """Delete the resource."""
        raise NotImplementedError

    def result(self) -> State:
        """Return what the module returns beside changed and diff (identifiers, names); {} when absent."""
        return {}

    def conceal(self, before: State, after: State) -> None:
        """Hide secrets in the pair that is shown as the diff; see the function of the same name."""


def reconcile(resource: DeclaredResource, state: str, check_mode: bool) -> State:
    """Bring a resource to C(state) ("present" or "absent") and return the module's answer."""
    current = resource.current()
    desired = resource.desired(current) if state == "present" else None
    changed = current != desired
    if changed and not check_mode:
        _write(resource, current, desired)
    before, after = copy.deepcopy(current or {}), copy.deepcopy(desired or {})
    resource.conceal(before, after)
    return dict(resource.result(), changed=changed, diff={"before": before, "after": after})


def _write(resource: DeclaredResource, current: Optional[State], desired: Optional[State]) -> None:
    if current is None:
        resource.create(desired or {})
    elif desired is None:
        resource.delete(current)
    else:
        resource.update(current, desired)


def run(module: Any, resource_class: Callable[[Any], DeclaredResource]) -> None:
    """Reconcile the resource that C(module)'s options declare, and leave through exit_json or fail_json."""
    try:
        answer = reconcile(resource_class(module), module.params.get("state") or "present", module.check_mode)
    except DeclaredResourceError as error:
        module.fail_json(msg=error.message, error_code=error.code)
    else:
        module.exit_json(**answer)
