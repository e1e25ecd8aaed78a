"""Who keeps a cluster's processes, and what happens to them when somebody dies.

The nodes here are plain programs that sleep; the keeper, the owner and the signals are the real ones.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadgen.clusters import clocks, disks
from loadgen.clusters.keeping import make_directory, recorded_words, remove_leftovers
from loadgen.clusters.link import Link
from loadgen.clusters.model import ClusterError
from loadgen.clusters.places import scratch_dirs
from loadgen.clusters.processes import Identity, identify, myself

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(300)"]
# An owner as a user's program would be one: it starts a keeper with one node, says who is who, and works on.
OWNER = """
import json, sys, time
from loadgen.clusters.link import Link
link = Link("loadgen.clusters.keeper")
log = str(link.directory / "n1.log")
answer = link.ask("launch", nodes={1: {"command": [sys.executable, "-c", "import time; time.sleep(300)"], "log": log}})
print(json.dumps([link.pid, answer["nodes"]["1"]["pid"], str(link.directory)]), flush=True)
time.sleep(300)
"""


def soon(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Wait until something is so."""
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def link() -> Iterator[Link]:
    """A keeper with two nodes that sleep."""
    kept = Link("loadgen.clusters.keeper")
    log = str(kept.directory / "log")
    kept.ask("launch", nodes={1: {"command": SLEEP, "log": log}, 2: {"command": SLEEP, "log": log}})
    yield kept
    kept.close()


def pid(link: Link, node: int) -> int | None:
    found: int | None = link.ask("status")["nodes"][str(node)]["pid"]
    return found


def state(number: int) -> str:
    """Give the letter by which the system describes a process."""
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_killed_node_is_gone_at_once_and_can_be_started_again(link: Link):
    before = pid(link, 1)

    link.ask("kill", node=1)
    gone = pid(link, 1)
    link.ask("start", node=1)

    assert before is not None
    assert gone is None
    assert pid(link, 1) not in (None, before)
    assert soon(lambda: (link.directory / "log").read_text().count("here") >= 2)


def test_a_node_that_is_ending_in_order_is_started_as_soon_as_it_has_gone(link: Link):
    before = pid(link, 2)

    link.ask("terminate", node=2)
    link.ask("start", node=2)

    assert soon(lambda: pid(link, 2) not in (None, before))


def test_a_paused_node_hangs_until_it_is_resumed(link: Link):
    number = pid(link, 1)
    assert number is not None

    link.ask("pause", node=1)
    assert soon(lambda: state(number) == "T")
    assert pid(link, 1) == number
    link.ask("resume", node=1)

    assert soon(lambda: state(number) == "S")


def test_what_is_done_to_a_node_for_a_time_ends_by_itself(link: Link):
    """Also where the owner has forgotten it, or hangs: a pause, an end and a full disk."""
    number = pid(link, 1)
    assert number is not None

    link.ask("pause", node=1, for_s=0.3)
    link.ask("kill", node=2, for_s=0.3)
    assert (soon(lambda: state(number) == "T"), pid(link, 2)) == (True, None)

    assert soon(lambda: state(number) == "S")
    assert soon(lambda: pid(link, 2) is not None)
    assert not link.ask("status")["nodes"]["1"]["paused"]


def test_a_pause_that_was_ended_is_not_ended_again(link: Link):
    link.ask("pause", node=1, for_s=0.2)
    link.ask("resume", node=1)
    link.ask("pause", node=1)
    number = pid(link, 1)
    assert number is not None

    time.sleep(0.5)

    assert state(number) == "T"


GROW = """
import time
with open("grown", "ab", buffering=0) as file:
    while True:
        try:
            file.write(b"x" * 1000)
        except OSError as error:
            print(f"refused: {error.errno}", flush=True)
        time.sleep(0.05)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes are Linux's")
def test_a_full_disk_refuses_one_nodes_writes_and_lets_it_say_so(link: Link):
    """Its file grows no more (27: too large), the log of its output does, and afterwards the file grows again."""
    log, file = link.directory / "log3", link.directory / "grown"
    link.ask("launch", nodes={3: {"command": [sys.executable, "-c", GROW], "log": str(log)}})
    assert soon(lambda: file.exists() and file.stat().st_size > 0)

    assert link.ask("fill_disk", node=3, for_s=0.5)["nodes"]["3"]["disk_full"]
    assert soon(lambda: log.exists() and "refused: 27" in log.read_text())
    size = file.stat().st_size

    assert soon(lambda: file.stat().st_size > size)
    assert not link.ask("status")["nodes"]["3"]["disk_full"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes are Linux's")
def test_a_node_that_ends_itself_when_it_has_room_again_is_started(link: Link):
    """It may have met the full disk just before; without the time it stays down, as node 2 does."""
    for node, for_s in ((1, 0.5), (2, None)):
        link.ask("fill_disk", node=node)
        link.ask("free_disk", node=node, for_s=for_s)
    both = [pid(link, 1), pid(link, 2)]
    for number in both:
        assert number is not None
        os.kill(number, signal.SIGKILL)

    assert soon(lambda: pid(link, 1) not in {None, both[0]})
    assert pid(link, 2) is None


def test_what_the_owner_tells_of_its_cluster_is_there_for_others(link: Link):
    link.ask("tell", what=["cut (broker 1, broker 2)"])

    assert recorded_words(link.directory) == ["cut (broker 1, broker 2)"]
    link.ask("kill", node=1)
    link.ask("start", node=1)
    assert recorded_words(link.directory) == ["cut (broker 1, broker 2)"]


def test_what_makes_no_sense_is_refused_with_the_reason(link: Link):
    with pytest.raises(ClusterError, match="node 1 runs already"):
        link.ask("start", node=1)
    with pytest.raises(ClusterError, match="there is no node 7; there are 1, 2"):
        link.ask("kill", node=7)
    link.ask("kill", node=2)
    with pytest.raises(ClusterError, match="node 2 does not run: start it first"):
        link.ask("pause", node=2)


def test_closing_ends_all_nodes_and_removes_the_data(link: Link):
    """Also a paused one; and closing twice does no harm."""
    numbers = [pid(link, 1), pid(link, 2)]
    link.ask("pause", node=1)

    link.close()
    link.close()

    assert [identify(each) for each in numbers if each] == [None, None]
    assert not link.directory.exists()
    with pytest.raises(ClusterError, match="the cluster is closed"):
        link.ask("status")


def test_an_owner_that_is_killed_takes_everything_along():
    owner, keeper, node, directory = start_owner()

    owner.kill()
    owner.wait()

    assert soon(lambda: not keeper.runs() and not node.runs() and not directory.exists())


def test_an_owner_whose_child_holds_the_pipe_open_is_missed_all_the_same():
    """A forked child inherits the pipe, so that its end alone is no proof that the owner lives."""
    forked = OWNER.replace("time.sleep(300)\n", "import os\nchild = os.fork()\ntime.sleep(300 if child else 5)\n")
    owner, keeper, node, directory = start_owner(forked)

    owner.kill()
    owner.wait()

    assert soon(lambda: not keeper.runs() and not node.runs() and not directory.exists(), within_s=3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_nodes_go_with_a_keeper_that_is_killed_and_the_owner_hears_of_it(link: Link):
    numbers = [pid(link, 1), pid(link, 2)]

    os.kill(link.pid, signal.SIGKILL)

    assert soon(lambda: [identify(each) for each in numbers if each] == [None, None])
    with pytest.raises(
        ClusterError, match=rf"the keeper of the cluster \(process {link.pid}\) has ended with status -9"
    ):
        link.ask("status")
    link.close()
    assert not link.directory.exists()


def test_what_a_killed_keeper_and_owner_left_is_removed_at_the_next_start():
    owner, keeper, node, directory = start_owner()
    os.kill(owner.pid, signal.SIGSTOP)  # so that it cannot notice
    os.kill(keeper.pid, signal.SIGKILL)
    assert soon(lambda: not keeper.runs() and not node.runs())
    owner.kill()
    owner.wait()
    assert directory.exists()

    Link("loadgen.clusters.keeper").close()

    assert not directory.exists()


def test_leftovers_are_only_what_has_no_living_keeper(tmp_path: Path):
    """A directory whose keeper lives, one of another machine and one of somebody else's program stay."""
    mine = make_directory(tmp_path)
    dead = make_directory(tmp_path)
    elsewhere = make_directory(tmp_path)
    other = tmp_path / "eventdrill-notes"
    other.mkdir()
    bystander = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    record = json.loads((dead / "keeper.json").read_text())
    # The bystander has the recorded number of a child, and another time of birth: it must live.
    record |= {"keeper": {"pid": os.getpid(), "born": "1"}, "children": {"1": {"pid": bystander.pid, "born": "1"}}}
    (dead / "keeper.json").write_text(json.dumps(record))
    (elsewhere / "keeper.json").write_text(json.dumps(record | {"machine": "another"}))

    removed = remove_leftovers([tmp_path])

    assert removed == [dead]
    assert mine.exists()
    assert elsewhere.exists()
    assert other.exists()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_process_is_its_number_and_its_birth():
    me = myself()

    assert me.runs()
    assert not Identity(me.pid, "1").runs()
    assert not Identity(me.pid, "1").signal(signal.SIGKILL)


def test_a_process_that_only_waits_to_be_reaped_does_not_run():
    child = subprocess.Popen([sys.executable, "-c", ""])
    mine = identify(child.pid)
    assert mine is None or soon(lambda: not mine.runs())
    child.wait()


def start_owner(program: str = OWNER) -> tuple[subprocess.Popen[bytes], Identity, Identity, Path]:
    """Start an owner in a process of its own; gives it, its keeper, its node and the directory."""
    owner = subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    keeper_pid, node_pid, directory = json.loads(owner.stdout.readline())
    owner.stdout.close()
    keeper, node = identify(keeper_pid), identify(node_pid)
    assert keeper is not None
    assert node is not None
    assert Path(directory).parent in scratch_dirs()
    return owner, keeper, node, Path(directory)


@pytest.mark.skipif(disks.cannot_have() is not None, reason=disks.cannot_have() or "")
def test_a_disk_that_somebody_still_looks_at_comes_back_later_and_the_keeper_answers_meanwhile(link: Link):
    """A node's machine loses power while a file on its disk is open elsewhere: the disk is back, and the node can be, when that is closed."""
    at = link.directory / "n1"
    disks.make(at)
    (at / "orders-0").mkdir()
    segment = at / "orders-0" / "0.log"
    segment.write_bytes(bytes(1000))

    with segment.open("rb"):
        link.ask("crash_host", node=1)
        assert soon(lambda: "busy" in link.ask("status")["nodes"]["1"]["trouble"])
        link.ask("start", node=1)
        assert pid(link, 1) is None
        assert pid(link, 2) is not None

    assert soon(lambda: link.ask("status")["nodes"]["1"]["unwritten_bytes"] == 1000)
    assert soon(lambda: pid(link, 1) is not None)


def test_a_nodes_wrong_clock_is_set_right_when_its_time_is_over_and_stays_wrong_while_the_node_is_down(link: Link):
    """Another node's time is not touched; the file is what a JVM of the node reads."""
    files = {node: clocks.make(link.directory / f"n{node}") for node in (1, 2)}

    link.ask("set_clock", node=1, wrong_by_ms=-90_000, for_s=0.4)
    link.ask("kill", node=1, for_s=0.1)
    assert int.from_bytes(files[1].read_bytes(), "little", signed=True) == -90_000
    assert link.ask("status")["nodes"]["1"]["clock_wrong_by_ms"] == -90_000
    assert soon(lambda: pid(link, 1) is not None)
    assert soon(lambda: link.ask("status")["nodes"]["1"]["clock_wrong_by_ms"] == 0)
    assert files[1].read_bytes() == files[2].read_bytes() == bytes(8)


def test_a_clock_that_is_set_right_has_no_end_any_more(link: Link):
    for node in (1, 2):
        clocks.make(link.directory / f"n{node}")

    link.ask("set_clock", node=1, wrong_by_ms=5_000, for_s=0.2)
    link.ask("set_clock", node=1, wrong_by_ms=0, for_s=None)
    link.ask("set_clock", node=1, wrong_by_ms=7_000, for_s=None)
    time.sleep(0.8)  # longer than a look of the keeper
    assert link.ask("status")["nodes"]["1"]["clock_wrong_by_ms"] == 7_000
