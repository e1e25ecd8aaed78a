"""For `locust -f loadgen/locustfile.py`: a run of EventDrill in Locust's own page, or, with `--worker`, a machine that shares the load.

EVENTDRILL_SCENARIO=leader-crash EVENTDRILL_OPTIONS="--on local" locust -f loadgen/locustfile.py
locust -f loadgen/locustfile.py --worker --master-host 10.0.0.5
"""

from loadgen.control import RunUser, follow_locust

__all__ = ["RunUser"]

follow_locust()
