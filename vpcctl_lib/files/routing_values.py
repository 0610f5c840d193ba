"""The values of route tables and NAT gateways in a topology file: how each is read and written back."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import MAPPING_HINT, Reading, Value, alone
from vpcctl_lib.files.topology_values import networks
from vpcctl_lib.model import addressing, route_checks, tables
from vpcctl_lib.model.naming import is_name
from vpcctl_lib.model.routes import BUILT_IN, RouteTable, VpcRoute

_CIDR = r"([0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*(/[0-9]{1,3})?)"
_TARGET = (r"^(internet|egress-only|blackhole|(nat|peer):[a-z][a-z0-9-]*"
           r"|instance:[a-z][a-z0-9-]*/[a-z][a-z0-9-]*)$")


def _routes(data: object, place: Place) -> tuple[VpcRoute, ...]:
    if not isinstance(data, Mapping):
        raise place.refusal(f"{shown(data)} is not routes by destination", MAPPING_HINT)
    return tables.in_order(_route(str(to), target, place.named(str(to))) for to, target in data.items())


def _route(to: str, target: object, place: Place) -> VpcRoute:
    if not isinstance(target, str):
        raise place.refusal(f"{shown(target)} is not a target of a route", route_checks.TARGETS)
    destination = told(place, lambda: route_checks.parse_destination(to))
    route = VpcRoute(destination, *told(place, lambda: route_checks.parse_target(target)))
    told(place, lambda: route_checks.check_family(route))
    return route


def check_tables(found: tuple[RouteTable, ...], place: Place, vpc: Reading) -> None:
    """Refuse a route to what is local, and two routes to one destination."""
    own = networks(vpc)
    for table in found:
        seen: set[object] = set()
        for route in table.routes:
            here = place.named(table.name).at("routes").named(str(route.destination))
            if any(addressing.inside(route.destination, one) for one in (*own, addressing.LINKS)):
                raise here.refusal(f"{route.destination} is always local", "choose another destination")
            block = route_checks.unroutable(route.destination)
            if block:
                raise here.refusal(f"{route.destination} can't be the destination of a route: it is in "
                                   f"{block}", "choose another destination")
            if route.destination in seen:
                raise here.refusal(f"{route.destination} is written twice", "leave one of the two out")
            seen.add(route.destination)


def _table(data: object, place: Place, subnet: Reading) -> str:
    if not isinstance(data, str) or not is_name(data):
        raise place.refusal(f"{shown(data)} is not a route table", "write for example main")
    kind = subnet.found.get("type")
    found = next((one for one in subnet.outside("route_tables") or ()
                  if one.name == data and data not in BUILT_IN), None)
    follows = tables.type_by(found) if found else tables.TYPES.get(data)
    if kind and follows and kind is not follows:
        raise place.refusal(f"a subnet with route table {shown(data)} is {follows.value}, but its type says "
                            f"{kind.value}", "leave out the type, or choose another route table")
    return data


def _subnet(data: object, place: Place) -> str:
    if not isinstance(data, str) or not is_name(data):
        raise place.refusal(f"{shown(data)} is not a subnet", "write for example public")
    return data


def _address(data: object, place: Place) -> IPv4Address:
    try:
        return addressing.parse_address(data if isinstance(data, str) else "")
    except VpcctlError:
        raise place.refusal(f"{shown(data)} is not an IPv4 address", "write for example 10.0.1.10") from None


ROUTES = alone(_routes, lambda found: {str(one.destination): one.target for one in found}, {
    "type": "object", "propertyNames": {"pattern": f"^{_CIDR}$"},
    "additionalProperties": {"type": "string", "pattern": _TARGET}}, (VpcRoute,))
ROUTE_TABLE = Value(_table, str, {"$ref": "#/definitions/name"})
SUBNET: Value = alone(_subnet, str, {"$ref": "#/definitions/name"})
ADDRESS: Value = alone(_address, str, {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$"})
