"""From the parts of a request to `RequestFacts`, the same for live traffic and for a replay.

The only place where credentials and addresses are seen; they leave it as keyed hashes. What a
surface cannot see stays None.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from ..core.estimate import TokenEstimator
from ..core.keyed import KeyedHash, network_bytes
from ..model import RequestFacts, Route, TaskReading, record
from ..ports import GeoSource
from .body import BodyFacts
from .header_plan import RequestPlan
from .headers import sdk_of

Headers = list[tuple[bytes, bytes]]
Address = IPv4Address | IPv6Address

MAX_USER_AGENT = 200
MAX_PATH = 256
NO_BODY = BodyFacts(model="")


@record
class Origin:
    """Where a request comes from, as far as a trusted chain vouches for it; no address is kept."""

    client_network: str | None = None  # keyed hash of the IPv4 address or the IPv6 /64
    country: str | None = None
    asn: int | None = None
    network_class: str | None = None


@record
class Software:
    """What the head of a request says of the caller's software."""

    user_agent: str | None = None  # at most MAX_USER_AGENT characters
    sdk: str | None = None


NO_ORIGIN = Origin()


def origin_of(address: Address | None, keyed: KeyedHash, geo: GeoSource | None = None) -> Origin:
    """`address` is the client's own; None where nobody vouches for one."""
    if address is None:
        return NO_ORIGIN
    network = keyed.address(network_bytes(address))
    if geo is None:
        return Origin(network)
    place = geo.place_of(address)
    return Origin(network, place.country, place.asn, place.network_class)


def software_of(headers: Headers, plan: RequestPlan) -> Software:
    """`plan` is `request_plan(headers)`."""
    user_agent = plan.value(headers, b"user-agent")
    return Software(
        None if user_agent is None else user_agent[:MAX_USER_AGENT].decode("latin-1"),
        sdk_of(headers, plan),
    )


def build_facts(
    *,
    decision_id: str,
    received_us: int,
    surface: str,
    method: str,
    path: str,
    route: Route | None,
    dialect: str,
    software: Software,
    credential: str | None,
    origin: Origin,
    body: BodyFacts = NO_BODY,
    body_bytes: int = 0,
    ja4: str | None = None,
    task: TaskReading | None = None,
    keyed: KeyedHash,
    estimator: TokenEstimator,
) -> RequestFacts:
    """Everything known of one request; `credential` is hashed already."""
    is_inference = route is not None and route.is_inference
    input_tokens = output_tokens = 0
    if is_inference:
        input_tokens, output_tokens = estimator.estimate(
            body.model or None, body_bytes, body.max_output_tokens
        )
        output_tokens *= body.choices * body.items
    # By position: naming 27 fields costs more than everything else here together.
    return RequestFacts(
        decision_id,
        received_us,
        surface,
        method,
        path[:MAX_PATH],
        None if route is None else route.name,
        dialect,
        is_inference,
        credential,
        origin.client_network,
        origin.country,
        origin.asn,
        origin.network_class,
        software.user_agent,
        software.sdk,
        ja4,
        body.model or None,
        body.stream,
        body.items,
        body_bytes,
        body.message_count,
        body.tool_count,
        body.max_output_tokens,
        body.temperature,
        None if body.end_user is None else keyed.value("end_user", body.end_user),
        input_tokens,
        output_tokens,
        task,
    )
