"""The plugin's operations: containers join subnets as attached machines, and leave them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vpcctl_lib.engine.inspection import inspect, owners
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import TOOLS, need
from vpcctl_lib.managers.base import Context, need_root
from vpcctl_lib.managers.instance import InstanceManager, Standing
from vpcctl_lib.model import endpoints, topology
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.guests import check_interface, check_path
from vpcctl_lib.model.lookup import find_endpoint, find_subnet, find_vpc
from vpcctl_lib.runtimes import cni_result as result
from vpcctl_lib.runtimes.cni_request import Attachment, CniError, Code, Request, Verb
from vpcctl_lib.runtimes.guests import short

Document = dict[str, Any]


def run(request: Request, context: Context) -> Document | None:
    """Do what is asked for; the answer, if there is one."""
    if request.verb is Verb.VERSION:
        return result.versions(request.version)
    operation = {Verb.ADD: _add, Verb.DEL: _delete, Verb.CHECK: _check, Verb.GC: _collect,
                 Verb.STATUS: _status}[request.verb]
    try:
        return operation(request, context)
    except CniError:
        raise
    except BadInput as error:
        raise CniError(Code.CONFIGURATION, error.message, error.hint) from None


def named(network: str, attachment: Attachment) -> str:
    """The machine that stands for a container's link: the same whenever it is asked for."""
    return f"{_prefix(network)}{short(f'{attachment.container}/{attachment.interface}', 12)}"


def _prefix(network: str) -> str:
    return f"cni-{short(network, 6)}-"


def _machines(request: Request, context: Context) -> Iterator[Endpoint]:
    """Those that this network made in its VPC."""
    for one in endpoints.everywhere(InstanceManager(context).state().topology):
        if one.site.vpc == request.vpc and one.site.machine.startswith(_prefix(request.network)):
            yield one


def _found(request: Request, context: Context) -> Endpoint | None:
    name = named(request.network, request.attachment)
    return next((one for one in _machines(request, context) if one.site.machine == name), None)


def _add(request: Request, context: Context) -> Document:
    check_interface(request.attachment.interface)
    check_path(request.namespace)
    if not netns.number(request.namespace):
        raise CniError(Code.CONTAINER, f"{request.namespace} is not a network namespace")
    manager = InstanceManager(context)
    before = _found(request, context)
    if before and manager.show(before.site).state is Standing.ATTACHED:
        raise CniError(Code.EXISTS, f"container {request.attachment.container} already has "
                       f"{request.attachment.interface} in network '{request.network}'", "DEL comes first")
    if before:
        # The host was started again, and the runtime starts the same container.
        manager.detach(before.site)
    site = Site(request.vpc, request.subnet, named(request.network, request.attachment))
    wanted = topology.Attachment(path=request.namespace, interface=request.attachment.interface)
    change = InstanceManager(context).attach(site, wanted, request.addresses, request.groups)
    return result.added(request, change.topology, find_endpoint(change.topology, site))


def _delete(request: Request, context: Context) -> None:
    """What is gone already is deleted."""
    one = _found(request, context)
    if one is not None:
        InstanceManager(context).detach(one.site)


def _check(request: Request, context: Context) -> None:
    one = _found(request, context)
    if one is None:
        raise CniError(Code.DIFFERS, f"container {request.attachment.container} is not in network "
                       f"'{request.network}'", "ADD it")
    before = result.listed(request.previous or {}, "ips")
    told = {str(ip.get("address")) for ip in before if isinstance(ip, dict)}
    lost = [str(address) for address in one.addresses if str(address) not in told]
    if lost:
        raise CniError(Code.DIFFERS, f"prevResult does not have {', '.join(lost)}", "ADD returned it")
    manager = InstanceManager(context)
    state = manager.load()
    owned = owners(state.topology, state.ledger)
    entries = [entry for entry in state.ledger if owned[entry.resource.key] == one.namespace]
    faults = inspect(Kernel(manager.runner), entries)
    if faults:
        wrong = next(entry.resource for entry in entries if entry.resource.key in faults)
        fault = faults[wrong.key]
        raise CniError(Code.DIFFERS, f"{wrong}: {fault.detail or fault.condition.value}",
                       "put it back: vpcctl restore")


def _collect(request: Request, context: Context) -> None:
    """Detach all whose containers are not there any more; one that fails does not keep the others."""
    valid = {named(request.network, one) for one in request.valid}
    failed = []
    for one in list(_machines(request, context)):
        if one.site.machine not in valid:
            try:
                InstanceManager(context).detach(one.site)
            except VpcctlError as error:
                failed.append(f"{one.site}: {error.message}")
    if failed:
        raise CniError(Code.FAILED, "; ".join(failed))


def _status(request: Request, context: Context) -> None:
    """Whether an ADD could work."""
    try:
        need_root()
        need(*TOOLS)
        found = InstanceManager(context).state().topology
        vpc = find_vpc(found, request.vpc)
        if request.subnet:
            find_subnet(found, request.vpc, request.subnet)
        endpoints.check_room(vpc.name, vpc.subnets)
    except VpcctlError as error:
        raise CniError(Code.UNAVAILABLE, error.message, error.hint) from None
