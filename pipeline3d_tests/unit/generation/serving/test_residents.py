"""Warm models under a budget: loaded once, never above it, never taken from a run, replaced when they die."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline3d.errors import LeaseLost, ModelNotReady, PermanentFailure, TransientFailure
from pipeline3d.generation.serving import InProcessModel, ModelHost, ModelSpec, PeakBook, SharedRoom
from pipeline3d_tests.servers import wait_until

UNIT = 1000


class Model:
    """A model of a known size in this process, which knows when it is used by two."""

    def __init__(self, factory: Factory, name: str) -> None:
        self.factory, self.name, self.users = factory, name, 0


class Factory:
    """Makes specs of models, and counts what happens to them."""

    def __init__(self) -> None:
        self.loads: Counter[str] = Counter()
        self.releases: Counter[str] = Counter()
        self.failures: dict[str, BaseException] = {}
        self.gate: threading.Event | None = None
        self.well: dict[str, bool] = {}
        self.held: dict[str, int] = {}

    def spec(self, name: str, weights: int = 40, working: int = 0, **more) -> ModelSpec[Model]:
        def load() -> Model:
            self.loads[name] += 1
            if self.gate is not None:
                assert self.gate.wait(20)
            if name in self.failures:
                raise self.failures[name]
            self.well[name] = True
            return Model(self, name)

        factory = self

        class Sized(InProcessModel[Model]):
            def load(self, is_canceled):
                super().load(is_canceled)
                return factory.held.get(name, weights * UNIT)

            def memory_bytes(self):
                return factory.held.get(name, weights * UNIT)

            def is_well(self):
                return super().is_well() and factory.well[name]

            def free(self):
                factory.releases[name] += 1

        return ModelSpec(
            key=name,
            open=lambda: Sized(load),
            weights_bytes=weights * UNIT,
            working_bytes=working * UNIT,
            **more,
        )


@pytest.fixture
def factory() -> Factory:
    return Factory()


@pytest.fixture
def host():
    host = ModelHost("cpu", limit_bytes=100 * UNIT, wait_s=20.0)
    yield host
    host.close()


def keys(host: ModelHost) -> set[str]:
    return {resident.key for resident in host.standing().residents}


def use(host: ModelHost, spec, **options) -> bool:
    with host.use(spec, **options) as use:
        return use.was_warm


def test_a_model_is_loaded_once_and_then_warm(host, factory):
    spec = factory.spec("a")
    assert [use(host, spec) for _ in range(5)] == [False, True, True, True, True]
    counts = host.counts_of("a")
    assert (counts.loads, counts.hits) == (1, 4)
    assert factory.loads["a"] == 1


def test_models_that_fit_together_stay_together(host, factory):
    for name in ("a", "b", "a", "b"):
        use(host, factory.spec(name))
    assert keys(host) == {"a", "b"}
    assert factory.loads == {"a": 1, "b": 1}


def test_models_that_do_not_fit_together_take_turns(host, factory):
    for name in ("a", "b") * 3:
        use(host, factory.spec(name, weights=60))
        assert keys(host) == {name}
    assert factory.loads == {"a": 3, "b": 3}
    assert host.counts_of("a").evictions == 3


def test_what_is_dear_to_load_stays(host, factory):
    cheap, dear = factory.spec("cheap", reload_s=0.1), factory.spec("dear", reload_s=100.0)
    host.learn_peak("dear", 1)  # a book that knows a load time goes by it: these loads take no time
    for spec in (dear, cheap):
        use(host, spec)
    host._peaks.note("dear", load_s=100.0)
    use(host, factory.spec("third"))
    assert keys(host) == {"dear", "third"}


def test_a_model_in_use_is_never_evicted_and_whoever_needs_its_place_waits(host, factory):
    with ThreadPoolExecutor() as pool:
        with host.use(factory.spec("a", weights=60)):
            other = pool.submit(use, host, factory.spec("b", weights=60))
            wait_until(lambda: keys(host) == {"a", "b"}, what="the other one is on its way")
            with pytest.raises(TimeoutError):
                other.result(timeout=0.3)
            assert "a" in keys(host)
            assert factory.loads["b"] == 0
        assert other.result(timeout=20) is False
    assert keys(host) == {"b"}


def test_many_that_want_a_cold_model_load_it_once_and_use_it_one_after_the_other(host, factory):
    spec = factory.spec("a")

    def work(_number: int) -> bool:
        with host.use(spec) as use:
            use.model.users += 1
            alone = use.model.users == 1
            use.model.users -= 1
            return alone

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(64)))
    assert factory.loads["a"] == 1
    assert host.counts_of("a").hits == 63


def test_a_load_that_fails_fails_for_all_who_waited_and_is_tried_anew_later(host, factory):
    factory.failures["a"] = PermanentFailure("broken weights", code="weights_invalid")
    factory.gate = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(use, host, factory.spec("a")) for _ in range(4)]
        wait_until(lambda: factory.loads["a"] == 1, what="one of them loads")
        factory.gate.set()
        errors = [each.exception(timeout=20) for each in tries]
    assert {error.code for error in errors} == {"weights_invalid"}
    assert factory.loads["a"] <= 4
    del factory.failures["a"]
    assert use(host, factory.spec("a")) is False


def test_a_model_that_died_is_replaced_on_its_next_use(host, factory):
    use(host, factory.spec("a"))
    factory.well["a"] = False
    assert use(host, factory.spec("a")) is False
    assert host.counts_of("a").deaths == 1
    assert factory.loads["a"] == 2


def test_a_model_that_dies_in_a_run_is_gone_after_it(host, factory):
    with host.use(factory.spec("a")):
        factory.well["a"] = False
    assert keys(host) == set()


def test_an_idle_model_goes_after_its_time(host, factory):
    use(host, factory.spec("a", idle_s=0.05))
    use(host, factory.spec("b", idle_s=None))
    wait_until(lambda: keys(host) == {"b"}, what="only the one that stays for ever is left")
    assert host.counts_of("a").expiries == 1


def test_a_model_that_is_not_kept_goes_at_once(host, factory):
    assert [use(host, factory.spec("a", idle_s=0)) for _ in range(2)] == [False, False]
    assert keys(host) == set()


def test_a_model_is_renewed_after_so_many_runs(host, factory):
    assert [use(host, factory.spec("a", runs_at_most=2)) for _ in range(4)] == [False, True, False, True]
    assert host.counts_of("a").recyclings == 2


def test_a_model_that_grows_is_renewed(host, factory):
    spec = factory.spec("a", growth_bytes=10 * UNIT)
    use(host, spec)
    with host.use(spec):
        factory.held["a"] = 51 * UNIT
    assert keys(host) == set()
    assert host.counts_of("a").recyclings == 1


# -- memory


def out_of_memory(**details) -> TransientFailure:
    return TransientFailure("full", code="out_of_memory", details=details)


@pytest.mark.parametrize("error", [out_of_memory(), MemoryError(), RuntimeError("can't allocate memory: 1")])
@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_run_out_of_memory_is_tried_in_smaller_pieces(host, factory, error, failures):
    use(host, factory.spec("idle"))
    divisors = []

    def work(model: Model, divisor: int) -> str:
        divisors.append(divisor)
        if len(divisors) <= failures:
            raise error
        return model.name

    with host.use(factory.spec("a")) as held:
        assert held.run(work) == "a"
    assert divisors == [1, 2, 4][: failures + 1]
    assert factory.releases["a"] == failures
    assert ("idle" in keys(host)) is (failures < 2)  # the others go before the third try
    assert host.counts_of("a").out_of_memory == failures


def test_a_run_that_never_fits_ends_with_the_bytes_and_without_the_model(host, factory):
    tries = []

    def work(_model, divisor):
        tries.append(divisor)
        raise out_of_memory(needed_bytes=5000, free_bytes=70)

    with pytest.raises(TransientFailure) as raised, host.use(factory.spec("a")) as held:
        held.run(work)
    assert tries == [1, 2, 4]
    assert raised.value.code == "out_of_memory"
    assert raised.value.details == {"needed_bytes": 5000, "free_bytes": 70}
    assert "5,000 bytes are needed, 70 are free" in raised.value.message
    assert keys(host) == set()


def test_other_errors_are_not_tried_again(host, factory):
    tries = []

    def work(_model, divisor):
        tries.append(divisor)
        raise PermanentFailure("no")

    with pytest.raises(PermanentFailure), host.use(factory.spec("a")) as held:
        held.run(work)
    assert tries == [1]
    assert keys(host) == {"a"}


def test_a_load_out_of_memory_has_the_others_leave_and_is_tried_once_more(host, factory):
    use(host, factory.spec("idle"))
    factory.failures["a"] = MemoryError()
    with pytest.raises(MemoryError):
        use(host, factory.spec("a"))
    assert factory.loads["a"] == 2
    assert keys(host) == set()


def test_what_a_run_takes_is_learned_and_has_others_leave_next_time(host, factory):
    use(host, factory.spec("b"))
    with host.use(factory.spec("a")) as held:
        held.note_peak(90 * UNIT)
    assert keys(host) == {"a", "b"}
    use(host, factory.spec("a"))
    assert keys(host) == {"a"}
    assert host.counts_of("a").peak_bytes == 90 * UNIT


def test_working_memory_is_admitted_and_not_kept(host, factory):
    use(host, factory.spec("b", weights=30))
    with host.use(factory.spec("a", weights=30, working=60)):
        assert keys(host) == {"a"}
    use(host, factory.spec("b", weights=30))
    assert keys(host) == {"a", "b"}


def test_a_model_larger_than_the_device_is_refused_with_the_bytes(host, factory):
    with pytest.raises(ModelNotReady) as raised:
        use(host, factory.spec("a", weights=101))
    assert raised.value.code == "device_too_small"
    assert raised.value.details == {"needed_bytes": 101 * UNIT, "free_bytes": 100 * UNIT}
    assert factory.loads["a"] == 0


def test_one_that_takes_more_than_it_said_has_others_leave(host, factory):
    use(host, factory.spec("b"))
    factory.held["a"] = 80 * UNIT
    use(host, factory.spec("a"))
    assert keys(host) == {"a"}


class Shared:
    """A device of which somebody else has taken a part."""

    def __init__(self, free: int) -> None:
        self.free = free

    def total_bytes(self) -> int:
        return 100 * UNIT

    def free_bytes(self) -> int:
        return self.free


def test_memory_that_other_programs_took_is_not_given_out(factory):
    host = ModelHost("cuda:0", gauge=Shared(free=30 * UNIT))
    assert host.limit_bytes == 75 * UNIT
    with pytest.raises(TransientFailure) as raised:
        use(host, factory.spec("a"))
    assert raised.value.code == "out_of_memory"
    assert raised.value.details == {"needed_bytes": 40 * UNIT, "free_bytes": 5 * UNIT}
    assert keys(host) == set()


def test_a_process_that_only_keeps_models_lets_them_go_for_one_that_works(factory, tmp_path):
    """Two hosts as in two processes, on a device that has room for one model."""
    device = Shared(free=100 * UNIT)
    idler, worker = (
        ModelHost("cuda:0", gauge=device, room=SharedRoom(tmp_path / "wanted"), wait_s=20.0) for _ in range(2)
    )
    use(idler, factory.spec("idle", idle_s=None))
    device.free = 40 * UNIT
    with ThreadPoolExecutor() as pool:
        other = pool.submit(use, worker, factory.spec("a"))
        wait_until(lambda: keys(idler) == set(), what="the idle model goes")
        device.free = 100 * UNIT
        assert other.result(timeout=20) is False
    assert idler.counts_of("idle").evictions == 1
    assert keys(worker) == {"a"}  # it does not hear itself
    idler.close()
    worker.close()


def test_a_device_of_unknown_size_needs_a_limit():
    with pytest.raises(ValueError, match="give a limit"):
        ModelHost("cuda:0")


# -- waiting


def test_one_that_waits_can_be_canceled(host, factory):
    asked = []

    def is_canceled() -> bool:
        asked.append(1)
        return len(asked) > 2

    with host.use(factory.spec("a")), pytest.raises(LeaseLost) as raised:
        use(host, factory.spec("a"), is_canceled=is_canceled)
    assert raised.value.code == "canceled"


def test_waiting_has_an_end(factory):
    host = ModelHost("cpu", limit_bytes=100 * UNIT, wait_s=0.05)
    with host.use(factory.spec("a")), pytest.raises(TransientFailure) as raised:
        use(host, factory.spec("a"))
    assert raised.value.code == "device_busy"
    host.close()


def test_a_closed_host_gives_nothing_out(host, factory):
    use(host, factory.spec("a"))
    host.close()
    assert keys(host) == set()
    with pytest.raises(TransientFailure):
        use(host, factory.spec("a"))


def test_an_interrupted_load_leaves_nothing_behind(host, factory):
    factory.failures["a"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        use(host, factory.spec("a"))
    assert keys(host) == set()
    del factory.failures["a"]
    assert use(host, factory.spec("a")) is False


def test_the_standing_says_what_is_there(host, factory):
    with host.use(factory.spec("a")):
        [busy] = host.standing().residents
    [idle] = host.standing().residents
    assert (busy.state, idle.state, idle.runs, idle.held_bytes) == ("busy", "idle", 1, 40 * UNIT)
    assert host.standing().held_bytes == 40 * UNIT
    assert idle.as_json()["counts"]["loads"] == 1


def test_many_threads_and_models_never_exceed_the_budget(factory):
    host = ModelHost("cpu", limit_bytes=100 * UNIT, wait_s=60.0)
    used: Counter[str] = Counter()
    lock = threading.Lock()
    excess = []

    def work(number: int) -> None:
        name = "abcde"[number % 5]
        with host.use(factory.spec(name, weights=20 + 10 * (number % 5))) as use, lock:
            used[use.model.name] += 1
            excess.append(host.standing().held_bytes)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(100)))
    assert used == dict.fromkeys("abcde", 20)
    assert max(excess) <= 100 * UNIT
    host.close()


class HostMachine(RuleBasedStateMachine):
    """Any order of taking, giving back, dying and learning keeps to the budget and to the busy ones."""

    def __init__(self) -> None:
        super().__init__()
        self.factory = Factory()
        self.host = ModelHost("cpu", limit_bytes=100 * UNIT, peaks=PeakBook(), wait_s=0.0)
        self.held: dict[str, object] = {}

    @rule(name=st.sampled_from("abcdef"), working=st.integers(0, 60))
    def take(self, name: str, working: int) -> None:
        if name in self.held:
            return
        weights = 10 * ("abcdef".index(name) + 1)
        context = self.host.use(self.factory.spec(name, weights=weights, working=working, idle_s=None))
        try:
            context.__enter__()
        except TransientFailure:
            return  # those in use leave too little
        self.held[name] = context

    @precondition(lambda self: self.held)
    @rule(data=st.data(), dies=st.booleans())
    def give_back(self, data, dies: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        self.factory.well[name] = not dies
        self.held.pop(name).__exit__(None, None, None)

    @rule()
    def shrink(self) -> None:
        self.host.shrink()

    @invariant()
    def what_is_charged_fits(self) -> None:
        assert sum(resident.charged for resident in self.host._residents.values()) <= 100 * UNIT

    @invariant()
    def what_is_in_use_is_there(self) -> None:
        assert set(self.held) <= keys(self.host)

    def teardown(self) -> None:
        self.host.close()


TestHostMachine = HostMachine.TestCase
TestHostMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
