"""The line for the device: one at a time, in order, across threads and processes, and nobody waits for the dead."""

import subprocess
import sys
import threading
import time

from grpo_lessons.training import line
from grpo_lessons.training.machine import free_memory

HOLD = """
import sys, time
from pathlib import Path
from grpo_lessons.training import line
with line.turn(lambda in_front: None, lambda: False, Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def take(folder, log, name, hold=0.2, places=None):
    def waiting(in_front):
        if places is not None:
            places.append(len(in_front))

    with line.turn(waiting, lambda: False, folder, poll=0.02):
        log.append((name, "in"))
        time.sleep(hold)
        log.append((name, "out"))


def test_threads_take_turns_in_the_order_they_came(tmp_path):
    log, threads = [], []
    for name in "abc":
        threads.append(threading.Thread(target=take, args=(tmp_path, log, name)))
        threads[-1].start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert log == [(name, way) for name in "abc" for way in ("in", "out")]


def test_a_waiting_session_sees_its_place_and_moves_up(tmp_path):
    log, places, threads = [], [], []
    for name, seen in (("a", None), ("b", None), ("c", places)):
        threads.append(threading.Thread(target=take, args=(tmp_path, log, name, 0.3, seen)))
        threads[-1].start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert places[0] == 2 and places[-1] == 1


def test_all_are_told_whose_turn_it_is_and_for_how_long_still(tmp_path):
    with line.turn(lambda in_front: None, lambda: False, tmp_path, who="seat 1", seconds=lambda: 40) as tell:
        told, needs = [], [90]
        stop = threading.Event()
        place = {"folder": tmp_path, "poll": 0.02, "who": "seat <2>", "seconds": lambda: needs[0]}

        def wait():
            with line.turn(told.append, stop.is_set, **place):
                pass

        waits = threading.Thread(target=wait)
        waits.start()
        time.sleep(0.2)
        first, second = line.line(tmp_path)
        assert (first.who, second.who) == ("seat 1", "seat 2") and 38 < first.seconds <= 40
        assert abs(second.seconds - 90) < 0.01
        tell(12)  # faster than expected, and so will the next one be
        needs[0] = 30
        time.sleep(0.2)
        first, second = line.line(tmp_path)
        assert 10 < first.seconds <= 12 and abs(second.seconds - 30) < 0.01
        assert [round(each[0].seconds) for each in told] == [40, 12]
        stop.set()
        waits.join()
    assert line.line(tmp_path) == []


def test_a_teacher_comes_after_the_one_that_has_the_device_and_before_all_others(tmp_path):
    got, threads = [], []

    def wait(who, first):
        with line.turn(lambda in_front: None, lambda: False, tmp_path, poll=0.02, who=who, first=first):
            got.append(who)

    with line.turn(lambda in_front: None, lambda: False, tmp_path, who="seat 1"):
        for number, (who, first) in enumerate((("seat 2", False), ("seat 3", False), ("teacher", True)), 2):
            threads.append(threading.Thread(target=wait, args=(who, first)))
            threads[-1].start()
            while len(line.line(tmp_path)) < number:
                time.sleep(0.01)
        assert [ticket.who for ticket in line.line(tmp_path)] == ["seat 1", "teacher", "seat 2", "seat 3"]
    for thread in threads:
        thread.join()
    assert got == ["teacher", "seat 2", "seat 3"]


def test_waiting_can_be_given_up(tmp_path):
    with (
        line.turn(lambda in_front: None, lambda: False, tmp_path) as first,
        line.turn(lambda in_front: None, lambda: True, tmp_path) as second,
    ):
        assert first and not second
    with line.turn(lambda in_front: None, lambda: False, tmp_path) as third:
        assert third


def test_a_killed_process_frees_its_place(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "mine\n"
    log = []
    thread = threading.Thread(target=take, args=(tmp_path, log, "next", 0))
    thread.start()
    time.sleep(0.3)
    assert log == []
    holder.kill()
    holder.wait()
    thread.join(10)
    assert log == [("next", "in"), ("next", "out")]
    assert not list(tmp_path.glob("*.ticket"))


def test_the_free_memory_is_that_of_the_container(tmp_path):
    assert free_memory(tmp_path) > 10**8
    (tmp_path / "memory.current").write_text("700")
    (tmp_path / "memory.stat").write_text("anon 600\ninactive_file 100\n")
    for limit, free in (("1000", 400), ("500", 0)):
        (tmp_path / "memory.max").write_text(limit)
        assert free_memory(tmp_path) == free
    (tmp_path / "memory.max").write_text("max")
    assert free_memory(tmp_path) > 10**8
