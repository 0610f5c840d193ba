"""Stands in a sandbox and asks `reach` many questions at once: JSON pairs in, JSON reports out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vpcctl_lib.kernel.reader import Kernel  # noqa: E402 - from the checkout that this stands in
from vpcctl_lib.kernel.run import Runner  # noqa: E402
from vpcctl_lib.managers.reach import find_sender, find_target, question_from  # noqa: E402
from vpcctl_lib.model.addressing import Family  # noqa: E402
from vpcctl_lib.model.policies import Protocol  # noqa: E402
from vpcctl_lib.reach.scene import Scene  # noqa: E402
from vpcctl_lib.reach.verdict import Analyzer  # noqa: E402
from vpcctl_lib.record.document import DEFAULT_FOLDER, topology  # noqa: E402
from vpcctl_lib.views import reach as views  # noqa: E402


def main() -> None:
    """Answer all the questions about the host as it is now, in the family that is given."""
    recorded = topology(DEFAULT_FOLDER)
    chosen = Family(sys.argv[1]) if sys.argv[1:] else Family.INET
    analyzer = Analyzer(Scene(Kernel(Runner()), family=chosen), recorded)
    reports = []
    for start, to, protocol, port in json.load(sys.stdin):
        sender, target = find_sender(recorded, start), find_target(recorded, to, chosen)
        report = analyzer.ask(question_from(sender, target, Protocol(protocol), port or None))
        reports.append(views.report(report))
    json.dump(reports, sys.stdout)


if __name__ == "__main__":
    main()
