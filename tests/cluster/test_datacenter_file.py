"""The datacenter file: what it may say, what it becomes, and how mistakes are named."""

import math
import textwrap
from pathlib import Path

import pytest

from cluster.datacenter_file import (
    DatacenterFileError,
    check_speed,
    fault_schema,
    load,
    mistakes,
    schema,
    values,
)
from fusion.errors import InvalidInput
from fusion.spec import (
    GIB,
    NO_DOM0,
    Bursts,
    Constant,
    CpuQos,
    Datacenter,
    Dom0,
    Nic,
    Placement,
    Sine,
    Step,
    Trace,
)

HOST = "{name: h, cores: 8, mhz: 2600, memory: 64GiB}"
SMALL = "vcpus: 1, mhz: 1000, memory: 1GiB"


@pytest.fixture
def write(tmp_path: Path) -> "Write":
    return Write(tmp_path)


class Write:
    """Writes a file and loads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, text: str, speed: float | None = None) -> Datacenter:
        path = self.folder / "test.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return load(str(path), speed=speed)

    def mistakes(self, text: str) -> tuple[str, ...]:
        with pytest.raises(DatacenterFileError) as refused:
            self.load(text)
        assert str(refused.value) == "\n".join(refused.value.mistakes)
        return tuple(each.replace(f"{self.folder}/", "") for each in refused.value.mistakes)

    def vm(self, vm: str, more: str = "") -> Datacenter:
        return self.load(f"datacenter: d\nhosts: [{HOST}]\nvms: [{{{vm}}}]\n{more}")

    def vm_mistakes(self, vm: str, more: str = "") -> tuple[str, ...]:
        return self.mistakes(f"datacenter: d\nhosts: [{HOST}]\nvms: [{{{vm}}}]\n{more}")

    def host_mistakes(self, host: str) -> tuple[str, ...]:
        return self.mistakes(f"datacenter: d\nhosts: [{{{host}}}]\n")


# What a file becomes


def test_the_least_that_a_file_can_say(write: Write) -> None:
    datacenter = write.load(f"datacenter: tiny\nhosts: [{HOST}]\n")
    assert (datacenter.name, datacenter.seed, datacenter.speed) == ("tiny", 1, 1.0)
    assert (datacenter.tick_s, datacenter.heartbeat_interval_s) == (1.0, 1.0)
    assert (datacenter.heartbeat_misses, datacenter.hosts_per_actor) == (3, 1)
    assert datacenter.first_port is None
    assert datacenter.vms == ()
    (cluster,) = datacenter.clusters
    assert (cluster.name, cluster.placement, cluster.ha) == ("default", Placement.BALANCE, True)
    assert not (cluster.drs or cluster.memory_overcommit or cluster.cpu_baseline)
    (host,) = datacenter.hosts
    assert (host.name, host.cluster, host.rack) == ("h", "default", "rack-1")
    assert (host.sockets, host.cores, host.core_mhz, host.memory_bytes) == (1, 8, 2600, 64 * GIB)
    assert host.dom0 == Dom0(vcpus=2, memory_bytes=3 * GIB)  # the white paper's share
    assert host.nics == (Nic("eth0", 10e9),)


def test_everything_that_a_file_can_say(write: Write) -> None:
    datacenter = write.load(
        """
        datacenter: full
        seed: 7
        speed: 2
        tick: 500ms
        heartbeat: {interval: 2s, misses: 5}
        hosts_per_actor: 10
        first_port: 17000
        clusters:
          - {name: a, placement: pack, ha: false, drs: true, memory_overcommit: true,
             cpu_baseline: x}
          - {name: b}
        flavours:
          small: {vcpus: 2, mhz: 2GHz, memory: 2GiB}
        hosts:
          - {cluster: a, name: "cna-{:02d}", count: 3, first: 9, rack: r1, sockets: 2, cores: 4,
             mhz: [1860, 2.66GHz], memory: 8GiB, dom0: none, cpu_generation: x,
             nics: [{name: eth0, link: 1Gbit/s}, {name: eth1, link: 100Mbps}]}
          - {cluster: b, name: solo, cores: 4, mhz: 2600, memory: 8GiB,
             dom0: {vcpus: 1, memory: 1GiB}}
        vms:
          - {cluster: a, name: "web-{}", count: 2, flavour: small, start: false, boot: 1m,
             shutdown: 0, virtualization: hvm,
             cpu: {limit: 3GHz, shares: 500, reservation: 500}}
          - {cluster: b, name: db, vcpus: 1, mhz: 1000, memory: 870MB}
        """
    )
    assert (datacenter.seed, datacenter.speed, datacenter.tick_s) == (7, 2.0, 0.5)
    assert (datacenter.heartbeat_interval_s, datacenter.heartbeat_misses) == (2.0, 5)
    assert (datacenter.hosts_per_actor, datacenter.first_port) == (10, 17000)
    a = datacenter.clusters[0]
    assert (a.placement, a.ha, a.drs, a.memory_overcommit, a.cpu_baseline) == (
        Placement.PACK,
        False,
        True,
        True,
        "x",
    )
    assert [host.name for host in datacenter.hosts] == ["cna-09", "cna-10", "cna-11", "solo"]
    assert [host.core_mhz for host in datacenter.hosts] == [1860, 2660, 1860, 2600]
    assert datacenter.hosts[0].dom0 == NO_DOM0
    assert datacenter.hosts[0].cores == 8
    assert datacenter.hosts[0].nics == (Nic("eth0", 1e9), Nic("eth1", 1e8))
    assert datacenter.hosts[3].dom0 == Dom0(1, GIB)
    web, _, db = datacenter.vms
    assert [vm.spec.name for vm in datacenter.vms] == ["web-1", "web-2", "db"]
    assert (web.group, web.start, db.group, db.start) == ("web-1..web-2", False, "db", True)
    assert web.spec.cpu == CpuQos(shares=500, limit_mhz=3000, reservation_mhz=500)
    assert (web.spec.boot_s, web.spec.shutdown_s, web.spec.cpu_mhz) == (60, 0, 4000)
    assert db.spec.cpu == CpuQos(shares=1000, limit_mhz=math.inf, reservation_mhz=0)
    assert (db.spec.memory_bytes, db.spec.workload) == (870_000_000, Constant(10))
    assert (db.spec.boot_s, db.spec.shutdown_s) == (10, 5)


def test_shares_follow_the_vcpus(write: Write) -> None:
    datacenter = write.vm("name: a, vcpus: 4, mhz: 500, memory: 1GiB")
    assert datacenter.vms[0].spec.cpu.shares == 4000


@pytest.mark.parametrize(
    ("written", "workload"),
    [
        ("{kind: constant, percent: 40}", Constant(40)),
        ("{kind: sine, mean: 40, amplitude: 30, period: 1h}", Sine(40, 30, 3600, 0)),
        ("{kind: sine, mean: 4, amplitude: 3, period: 1h, phase: 5m}", Sine(4, 3, 3600, 300)),
        (
            "{kind: step, levels: [{at: 0s, percent: 1}, {at: 5m, percent: 80.5}]}",
            Step(((0, 1), (300, 80.5))),
        ),
        (
            "{kind: bursts, base: 5, peak: 90, mean_gap: 10m, mean_burst: 30s}",
            Bursts(5, 90, 600, 30),
        ),
    ],
)
def test_workloads(write: Write, written: str, workload: object) -> None:
    datacenter = write.vm(f"name: a, {SMALL}, workload: {written}")
    assert datacenter.vms[0].spec.workload == workload


def test_spread_deals_phases_evenly_over_the_group(write: Write) -> None:
    sine = "{kind: sine, mean: 40, amplitude: 30, period: 60s, phase: spread}"
    datacenter = write.vm(f"name: 'a-{{}}', count: 4, {SMALL}, workload: {sine}")
    phases = [vm.spec.workload.phase_s for vm in datacenter.vms]  # type: ignore[union-attr]
    assert phases == [0, 15, 30, 45]


def test_flavours_cut_a_group_into_equal_consecutive_blocks(write: Write) -> None:
    flavours = "flavours: {x: {vcpus: 1, mhz: 1, memory: 1}, y: {vcpus: 2, mhz: 1, memory: 1}}"
    datacenter = write.vm("name: 'a-{}', count: 5, flavours: [x, y]", flavours)
    assert [vm.spec.vcpus for vm in datacenter.vms] == [1, 1, 1, 2, 2]


def test_merge_keys_save_repetition(write: Write) -> None:
    datacenter = write.load(
        """
        datacenter: d
        hosts:
          - &rack {name: "h-{}", count: 2, rack: r1, cores: 8, mhz: 2600, memory: 64GiB}
          - {<<: *rack, first: 3, rack: r2}
        """
    )
    assert [(host.name, host.rack) for host in datacenter.hosts] == [
        ("h-1", "r1"),
        ("h-2", "r1"),
        ("h-3", "r2"),
        ("h-4", "r2"),
    ]


# Traces


def traces(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_text(f"{number}\n{number + 1}\n")


def test_a_trace_for_all_and_a_folder_with_one_for_each(write: Write) -> None:
    # Made in another order than that of their names, which counts; hidden files do not.
    traces(write.folder / "day", "b", "a", "B", ".hidden")
    one = write.vm(
        f"name: 'a-{{}}', count: 2, {SMALL}, workload: {{kind: trace, file: day/a, interval: 1m}}"
    )
    assert [vm.spec.workload for vm in one.vms] == [Trace(bytes([1, 2]), 60, "day/a")] * 2
    each = write.vm(f"name: 'a-{{}}', {SMALL}, workload: {{kind: traces, folder: day}}")
    assert [(vm.spec.name, vm.spec.workload) for vm in each.vms] == [
        ("a-1", Trace(bytes([2, 3]), 300, "day/B")),
        ("a-2", Trace(bytes([1, 2]), 300, "day/a")),
        ("a-3", Trace(bytes([0, 1]), 300, "day/b")),
    ]
    first = write.vm(f"name: 'a-{{}}', count: 2, {SMALL}, workload: {{kind: traces, folder: day}}")
    assert [vm.spec.workload for vm in first.vms] == [vm.spec.workload for vm in each.vms[:2]]


def test_traces_are_looked_for_beside_the_file_then_in_datasets_then_here(
    write: Write, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets, here = tmp_path_factory.mktemp("datasets"), tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    path = write.folder / "f.yaml"
    path.write_text(
        f"datacenter: d\nhosts: [{HOST}]\n"
        f"vms: [{{name: a, {SMALL}, workload: {{kind: trace, file: t}}}}]\n"
    )
    with pytest.raises(DatacenterFileError) as refused:
        load(str(path), datasets=datasets)
    assert str(refused.value) == (
        f"vms[0].workload.file: 't' was not found in {write.folder}, {datasets}, {here}; "
        "set FUSION_DATASETS to the folder that has it, "
        "or make one with: fusion traces FOLDER --count 1, and name its file here"
    )
    found = []
    for percent, folder in ((1, here), (2, datasets), (3, write.folder)):
        (folder / "t").write_text(f"{percent}\n")
        workload = load(str(path), datasets=datasets).vms[0].spec.workload
        assert isinstance(workload, Trace)
        found.append(workload.percents[0])
    assert found == [1, 2, 3]


def test_trace_files_that_are_none(write: Write) -> None:
    day = write.folder / "day"
    traces(day, "a")
    for name, text in (("b", ""), ("c", "1\n-2\n"), ("d", "1\n101\n"), ("e", "1\nx\n")):
        (day / name).write_text(text)
    (day / "f").write_bytes(b"\xff\xfe\x00")
    found = write.vm_mistakes(f"name: 'a-{{}}', {SMALL}, workload: {{kind: traces, folder: day}}")
    place = "vms[0].workload.folder"
    assert found == (
        f"{place}: day/b is empty; write one whole CPU percentage a line",
        f"{place}: day/c, line 2: a load of -2 % is negative; write 0 to 100",
        f"{place}: day/d, line 2: a load of 101 % is over 100; write 0 to 100",
        f"{place}: day/e, line 2: 'x' is not a whole number from 0 to 100",
        f"{place}: day/f is not text; write one percentage a line",
    )


def test_a_wrong_folder_is_not_read_to_its_end(write: Write) -> None:
    day = write.folder / "day"
    day.mkdir()
    for number in range(20):
        (day / f"{number:02d}").write_text("no trace\n")
    found = write.vm_mistakes(f"name: 'a-{{}}', {SMALL}, workload: {{kind: traces, folder: day}}")
    assert len(found) == 5


@pytest.mark.parametrize(
    ("workload", "mistake"),
    [
        (
            "kind: trace, file: day",
            "file: 'day' is a folder; for one VM a file, write kind: traces",
        ),
        ("kind: traces, folder: day/a", "folder: 'day/a' is a file; for every VM the same"),
        ("kind: traces, folder: away", "folder: 'away' was not found in "),
        ("kind: traces, folder: bare", "folder: the folder bare has no files; make synthetic"),
        (f"kind: trace, file: {'x' * 300}", "cannot be read: File name too long"),
    ],
)
def test_traces_that_are_elsewhere(write: Write, workload: str, mistake: str) -> None:
    traces(write.folder / "day", "a")
    (write.folder / "bare").mkdir()
    (found,) = write.vm_mistakes(f"name: 'a-{{}}', {SMALL}, workload: {{{workload}}}")
    assert found.startswith("vms[0].workload.")
    assert mistake in found


def test_more_vms_than_traces(write: Write) -> None:
    traces(write.folder / "day", "a", "b")
    assert write.vm_mistakes(
        f"name: 'a-{{}}', count: 3, {SMALL}, workload: {{kind: traces, folder: day}}"
    ) == (
        "vms[0].workload.folder: the folder day has 2 traces for a count of 3; "
        "write at most 2, or leave count out",
    )


# Where a file comes from


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("datacenter: caf\xe9".encode("latin-1"))
    for source, sentence in {
        "demmo": "'demmo' is neither a file nor a packaged scenario; did you mean demo?",
        "absent.yaml": "absent.yaml cannot be read: No such file or directory",
        f"{tmp_path}/absent": f"{tmp_path}/absent cannot be read: No such file or directory",
        str(tmp_path): f"{tmp_path} cannot be read: Is a directory",
        "x" * 300: "cannot be read: File name too long",
        str(latin): "latin.yaml is not text in UTF-8; save it as such",
    }.items():
        with pytest.raises(DatacenterFileError) as refused:
            load(source)
        assert sentence in str(refused.value)
        assert len(refused.value.mistakes) == 1


def test_a_file_wins_over_a_scenario_and_a_folder_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert load("demo").name == "demo"
    (tmp_path / "demo").rmdir()
    (tmp_path / "demo").write_text(f"datacenter: mine\nhosts: [{HOST}]\n")
    assert load("demo").name == "mine"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "test.yaml is empty; write for example datacenter: demo"),
        ("# nothing\n", "test.yaml is empty; write for example datacenter: demo"),
        ("a: [1\nb: 2\n", "test.yaml, line 2, column 2: this is not YAML: "),
        ("a: b: c\n", "test.yaml, line 1, column 5: this is not YAML: "),
        ("a:\n\t- b\n", "indent with spaces, not tabs"),
        ("a: *b\n", "test.yaml, line 1, column 4: this is not YAML: found undefined alias"),
        ("a: !python/object:os.system x\n", "could not determine a constructor for the tag"),
        ("a: 1\n---\nb: 2\n", "test.yaml, line 2, column 1: this is not YAML: "),
        ("a: 2024-99-99\n", "test.yaml has a value that YAML cannot read: "),
        (f"a: {'9' * 5000}\n", "test.yaml has a value that YAML cannot read: "),
        ("a: \x01\n", "test.yaml is not YAML: "),
        ("[" * 100_000 + "]" * 100_000, "test.yaml is nested too deeply"),
        ("[1, 2]\n", "[1, 2] is not a mapping; write key: value pairs"),
        ("just text\n", "'just text' is not a mapping; write key: value pairs"),
    ],
)
def test_what_is_not_a_yaml_mapping(write: Write, text: str, sentence: str) -> None:
    (found,) = write.mistakes(text)
    assert sentence in found


def test_keys_written_twice(write: Write) -> None:
    assert write.mistakes(
        """\
        datacenter: d
        seed: 1
        hosts: [{name: h, cores: 8, cores: 4, mhz: 2600, memory: lots}]
        seed: 2
        """
    ) == (
        "hosts[0].cores: written twice, in line 3; keep one",
        "seed: written twice, in lines 2 and 4; keep one",
        "hosts[0].memory: 'lots' is not a size; write for example 128GiB",
    )


def test_what_aliases_blow_up_stays_a_short_sentence(write: Write) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 8)}]\n"
    text += "tick: *a11\nspeed: *a11\nself: &self [*self]\n"
    found = write.mistakes(text)
    assert any(each.startswith("tick: a list is not a duration") for each in found)
    assert max(map(len, found)) < 400


# Mistakes in single values


@pytest.mark.parametrize(
    ("host", "mistake"),
    [
        ("memory: lots", "memory: 'lots' is not a size; write for example 128GiB"),
        ("memory: 0", "memory: 0 is too small; it must be above 0"),
        ("memory: -1GiB", "memory: '-1GiB' is not a size; write for example 128GiB"),
        ("memory: .nan", "memory: nan is not a size; write for example 128GiB"),
        ("memory: ~", "memory: empty; write a value, or leave the key out"),
        ("memroy: 1GiB", "memroy: unknown key; did you mean memory?"),
        ("zzz: 1", "zzz: unknown key; possible here: name, cluster, count, first, rack, sockets,"),
        ("cores: 0", "cores: 0 is too small; write at least 1"),
        ("cores: 1.5", "cores: 1.5 is not a whole number; write for example cores: 8"),
        ("cores: '8'", "cores: '8' is not a whole number; write for example cores: 8"),
        ("cores: true", "cores: true is not a whole number; write for example cores: 8"),
        ("sockets: 65", "sockets: 65 is too large; write at most 64"),
        ("count: 100001", "count: 100001 is too large; write at most 100000"),
        ("count: 0", "count: 0 is too small; write at least 1"),
        ("mhz: fast", "mhz: 'fast' is not a frequency; write for example 2600MHz or 2.6GHz"),
        ("mhz: [2600, -1]", "mhz[1]: -1 is not a frequency; write for example 2600MHz or 2.6GHz"),
        ("mhz: []", "mhz: [] is empty; write for example mhz: 2600"),
        ("dom0: some", "dom0: write none, or a mapping such as {vcpus: 2, memory: 3GiB}"),
        ("dom0: {vcpu: 1}", "dom0.vcpu: unknown key; did you mean vcpus?"),
        ("nics: {name: a}", "nics: {'name': 'a'} is not a list; start each entry with a dash"),
        (
            "nics: [{name: a, link: 10GB}]",
            "nics[0].link: '10GB' is not a link rate; write for example 10Gbit/s",
        ),
        ("nics: [{link: 1}]", "nics[0].name: missing; write for example name: eth0"),
        ("rack: 5", "rack: 5 is not text; put it in quotes"),
        ("rack: a/b", "rack: 'a/b' is not a name; use letters, digits, - _ . and start with"),
        ("name: ..", "name: '..' is not a name; use letters, digits, - _ . and start with"),
        (f"name: {'x' * 64}", "name: a name of 64 characters is too long; at most 63"),
        ("name: 'h-{:5d}'", "name: 'h-    1' is not a name"),
        ("name: 'h-{}-{}'", "name: 'h-{}-{}' is not a pattern of names; write one {} or {:02d}"),
        ("name: 'h-{0.__class__}'", "is not a pattern of names"),
        ("name: 'h-{:99d}'", "name: a name of 101 characters is too long; at most 63"),
        ("name: 'h-{'", "name: 'h-{' is not a pattern of names"),
    ],
)
def test_a_value_of_a_host_that_is_none(write: Write, host: str, mistake: str) -> None:
    given = dict.fromkeys([host.partition(":")[0]])
    rest = {"name": "h", "cores": "8", "mhz": "2600", "memory": "64GiB"}
    others = "".join(f", {key}: {value}" for key, value in rest.items() if key not in given)
    (found,) = write.host_mistakes(host + others)
    assert found.startswith("hosts[0].")
    assert mistake in found


@pytest.mark.parametrize(
    ("vm", "mistake"),
    [
        (
            "workload: {kind: sin}",
            "workload.kind: 'sin' is no kind of workload; did you mean sine?",
        ),
        (
            "workload: {kind: 5}",
            "workload.kind: '5' is no kind of workload; possible: constant, sine",
        ),
        ("workload: {percent: 5}", "workload.kind: missing; write for example kind: constant"),
        ("workload: busy", "workload: 'busy' is not a mapping; write key: value pairs"),
        (
            "workload: {kind: constant, percent: 101}",
            "workload.percent: 101 is too large; write at most 100",
        ),
        (
            "workload: {kind: constant, percent: 40%}",
            "workload.percent: '40%' is not a number; write for example percent: 40",
        ),
        (
            "workload: {kind: constant, percent: .nan}",
            "workload.percent: nan is ",
        ),
        (
            "workload: {kind: constant, percent: 1, percnt: 2}",
            "workload.percnt: unknown key; did you mean percent?",
        ),
        (
            "workload: {kind: sine, mean: 1, amplitude: 1, period: 0}",
            "workload.period: 0 is too small; it must be above 0",
        ),
        (
            "workload: {kind: sine, mean: 1, amplitude: 1, period: 1h, phase: sprad}",
            "workload.phase: 'sprad' is not a duration; write for example 300s or 5m",
        ),
        ("workload: {kind: step, levels: []}", "workload.levels: [] is empty; write for example"),
        (
            "workload: {kind: step, levels: [{at: 0}]}",
            "workload.levels[0].percent: missing; write for example percent: 40",
        ),
        (
            "workload: {kind: step, levels: [{at: 5m, percent: 1}, {at: 5m, percent: 2}]}",
            "workload.levels[1].at: 5m does not come after 5m; write the levels in the order",
        ),
        (
            "workload: {kind: bursts, base: 9, peak: 5, mean_gap: 1m, mean_burst: 1m}",
            "workload.peak: 5 is below the base of 9; exchange the two",
        ),
        ("workload: {kind: trace, file: ''}", "workload.file: '' is empty; write for example"),
        ("cpu: {shares: 0}", "cpu.shares: 0 is too small; write at least 1"),
        ("cpu: {limit: 0}", "cpu.limit: 0 is too small; it must be above 0"),
        ("cpu: {reservation: -5}", "cpu.reservation: -5 is not a frequency"),
        ("boot: soon", "boot: 'soon' is not a duration; write for example 300s or 5m"),
        ("start: 1", "start: 1 is neither true nor false"),
        (
            "virtualization: pv",
            "virtualization: 'pv' is refused: only hardware-virtualised guests (hvm) exist, as "
            "FusionCompute supports full virtualisation only (white paper 3.2.1)",
        ),
    ],
)
def test_a_value_of_a_vm_that_is_none(write: Write, vm: str, mistake: str) -> None:
    (found,) = write.vm_mistakes(f"name: a, {SMALL}, {vm}")
    assert found.startswith("vms[0].")
    assert mistake in found


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("seed: -1", "seed: -1 is too small; write at least 0"),
        ("speed: 0", "speed: 0 is too small; it must be above 0"),
        ("speed: .inf", "speed: inf is "),
        ("tick: 0", "tick: 0 is too small; it must be above 0"),
        (
            "heartbeat: {misses: 1}",
            "heartbeat.misses: 1 makes a timeout of one heartbeat, so every late one would count "
            "as a failure; misses * interval >= 2 * interval must hold: write at least 2",
        ),
        ("heartbeat: 1s", "heartbeat: '1s' is not a mapping; write key: value pairs"),
        ("hosts_per_actor: 0", "hosts_per_actor: 0 is too small; write at least 1"),
        ("first_port: 80", "first_port: 80 is too small; write at least 1024"),
        ("first_port: 70000", "first_port: 70000 is too large; write at most 65535"),
        ("clusters: []", "clusters: [] is empty; write for example clusters: [{name: production}]"),
        (
            "clusters: [{name: a, placement: spread}]",
            "clusters[0].placement: 'spread' is not possible; write balance or pack",
        ),
        ("clusters: [{name: a, ha: maybe}]", "clusters[0].ha: 'maybe' is neither true nor false"),
        (
            "flavours: {'a b': {vcpus: 1, mhz: 1, memory: 1}}",
            "flavours.a b: 'a b' is not a name; use letters, digits",
        ),
        (
            "flavours: {a: {vcpus: 1, mhz: 1, memry: 1}}",
            "flavours.a.memry: unknown key; did you mean memory?",
        ),
        ("5: x", "this key is not text; put it in quotes"),
        ("host: x", "host: unknown key; did you mean hosts?"),
    ],
)
def test_a_value_of_the_datacenter_that_is_none(write: Write, line: str, mistake: str) -> None:
    found = write.mistakes(f"datacenter: d\nhosts: [{HOST}]\n{line}\n")
    assert any(each.startswith(mistake) or mistake in each for each in found)


def test_a_datacenter_without_a_name_is_called_as_its_file(write: Write) -> None:
    path = write.folder / "lab.v2.yaml"
    path.write_text("hosts: [{name: h, cores: 8, mhz: 2000, memory: 64GiB}]")
    assert load(str(path)).name == "lab.v2"
    bad = write.folder / "my lab.yaml"
    path.rename(bad)
    with pytest.raises(DatacenterFileError, match="datacenter: 'my lab'"):
        load(str(bad))


def test_a_datacenter_needs_hosts(write: Write) -> None:
    assert write.mistakes("seed: 1\n") == (
        f"hosts: missing; write for example hosts: {mistakes.EXAMPLES['hosts']}",
    )
    (found,) = write.mistakes("datacenter: d\nhosts: []\n")
    assert found.startswith("hosts: [] is empty; write for example hosts: [{name: cna-01")


def test_many_mistakes_are_named_at_once(write: Write) -> None:
    found = write.mistakes(
        """
        datacenter: d
        speed: fast
        hosts:
          - {name: h, cores: 8, mhz: x, memory: lots}
          - {name: g, cores: 0, mhz: 1, memory: 1}
        vms:
          - {name: v, boot: soon, workload: {kind: sine}}
        """
    )
    assert [each.split(": ")[0] for each in found] == [
        "speed",
        "hosts[0].mhz",
        "hosts[0].memory",
        "hosts[1].cores",
        "vms[0].workload.mean",
        "vms[0].workload.amplitude",
        "vms[0].workload.period",
        "vms[0].boot",
    ]


# Mistakes between entries


def test_references_to_what_is_not_there(write: Write) -> None:
    assert write.mistakes(
        f"""
        datacenter: d
        clusters: [{{name: production}}, {{name: lab}}]
        flavours: {{small: {{{SMALL}}}}}
        hosts:
          - {{name: h, cluster: producton, cores: 8, mhz: 2600, memory: 64GiB}}
          - {{name: g, cores: 8, mhz: 2600, memory: 64GiB}}
        vms:
          - {{name: a, cluster: zzz, flavour: smal}}
          - {{name: b, cluster: lab, flavours: [small, huge]}}
        """
    ) == (
        "hosts[0].cluster: 'producton' is no cluster of this file; did you mean production?",
        "hosts[1].cluster: missing; write one of production, lab",
        "vms[0].cluster: 'zzz' is no cluster of this file; there is: production, lab",
        "vms[0].flavour: 'smal' is no flavour of this file; did you mean small?",
        "vms[1].flavours[1]: 'huge' is no flavour of this file; there is: small",
    )


@pytest.mark.parametrize(
    ("vm", "mistake"),
    [
        ("name: a", "vms[0].flavour: missing; write a flavour, or vcpus, mhz and memory"),
        ("name: a, vcpus: 1", "vms[0].mhz: missing; write mhz, memory"),
        (
            "name: a, flavour: s, vcpus: 1",
            "vms[0].vcpus: given beside flavour; keep one of the two",
        ),
        (
            "name: a, flavour: s, flavours: [s]",
            "vms[0].flavours: given beside flavour; keep one of the two",
        ),
        ("name: a, flavour: s", "vms[0].flavour: 's' is no flavour of this file; there is none"),
        (
            f"name: a, count: 2, {SMALL}",
            "vms[0].name: 'a' would name 2 the same; write a pattern, for example a-{:02d}",
        ),
        (
            f"name: '{'x' * 60}{{}}', count: 1000, {SMALL}",
            f"vms[0].name: '{'x' * 60}1000' is too long; a name has at most 63 characters",
        ),
        (
            f"name: 'i-{{:08d}}', first: 5, {SMALL}",
            "vms[0].name: 'i-00000005' looks like the identity of a VM; choose another name",
        ),
    ],
)
def test_vm_groups_that_contradict_themselves(write: Write, vm: str, mistake: str) -> None:
    assert write.vm_mistakes(vm) == (mistake,)


@pytest.mark.parametrize("name", ["vrm", "bmc", "'chassis-{}'"])
def test_hosts_are_not_called_like_other_parties(write: Write, name: str) -> None:
    (found,) = write.host_mistakes(f"name: {name}, cores: 8, mhz: 1, memory: 64GiB")
    assert "is what another party of the datacenter is called; choose another name" in found


def test_names_that_two_places_make(write: Write) -> None:
    assert write.mistakes(
        f"""
        datacenter: d
        clusters: [{{name: a}}, {{name: a}}]
        hosts:
          - {{cluster: a, name: "h-{{}}", count: 4, cores: 8, mhz: 2600, memory: 64GiB}}
          - {{cluster: a, name: "h-{{}}", first: 3, count: 4, cores: 8, mhz: 2600, memory: 64GiB}}
          - {{cluster: a, name: g, cores: 8, mhz: 1, memory: 64GiB,
             nics: [{{name: e, link: 1}}, {{name: e, link: 1}}]}}
        vms:
          - {{cluster: a, name: g, {SMALL}}}
          - {{cluster: a, name: g, {SMALL}}}
        """
    ) == (
        "clusters[1].name: 'a' is a name that clusters[0] has too; "
        "change the name, or the first number",
        "hosts[1].name: 'h-3' (and 1 more) is a name that hosts[0] has too; "
        "change the name, or the first number",
        "vms[1].name: 'g' is a name that vms[0] has too; change the name, or the first number",
        "hosts[2].nics[1].name: 'e' is a name that hosts[2].nics[0] has too; "
        "change the name, or the first number",
    )


@pytest.mark.parametrize(
    ("vm", "mistake"),
    [
        (
            "vcpus: 9, mhz: 1000, memory: 1GiB",
            "vms[0].vcpus: 9 vCPUs is more than any host of the cluster default has for VMs "
            "(at most 8 cores); make one of the two fit",
        ),
        (
            "vcpus: 1, mhz: 1000, memory: 62GiB",  # 64 less Dom0's 3
            "vms[0].memory: 62 GiB of memory is more than any host of the cluster default has for "
            "VMs (at most 61 GiB); make one of the two fit",
        ),
        (
            "vcpus: 8, mhz: 2600, memory: 1GiB, cpu: {reservation: 16GHz}",  # 6 cores of 2.6 GHz
            "vms[0].cpu.reservation: a reservation of 16 GHz is more than any host of the cluster "
            "default has for VMs (at most 15.6 GHz); make one of the two fit",
        ),
        (
            "vcpus: 1, mhz: 1000, memory: 1GiB, cpu: {reservation: 2GHz}",
            "vms[0].cpu.reservation: 2 GHz is more than the VM can use (1 vCPUs of 1 GHz); "
            "write at most 1 GHz",
        ),
        (
            "vcpus: 2, mhz: 1000, memory: 1GiB, cpu: {reservation: 2GHz, limit: 1GHz}",
            "vms[0].cpu.reservation: 2 GHz is more than the limit of 1 GHz; "
            "write at most the limit",
        ),
    ],
)
def test_vms_that_no_host_can_carry(write: Write, vm: str, mistake: str) -> None:
    assert write.vm_mistakes(f"name: a, {vm}") == (mistake,)


def test_a_vm_that_just_fits_is_taken(write: Write) -> None:
    write.vm("name: a, vcpus: 8, mhz: 2600, memory: 61GiB, cpu: {reservation: 15.6GHz}")


def test_a_vm_must_fit_one_host_in_every_way(write: Write) -> None:
    hosts = """
        datacenter: d
        clusters: [{name: a}, {name: b}, {name: c}]
        flavours: {big: {vcpus: 16, mhz: 1000, memory: 32GiB}}
        hosts:
          - {cluster: a, name: wide, cores: 32, mhz: 2600, memory: 16GiB}
          - {cluster: a, name: deep, cores: 8, mhz: 2600, memory: 64GiB}
          - {cluster: b, name: both, cores: 32, mhz: 2600, memory: 64GiB}
        vms:
    """
    assert write.load(hosts + "      - {cluster: b, name: v, flavour: big}\n").vms
    assert write.mistakes(hosts + "      - {cluster: a, name: v, flavour: big}\n") == (
        "vms[0].flavour: no one host of the cluster a has all of: "
        "16 vCPUs, 32 GiB of memory, a reservation of 0 MHz; give one of its hosts more",
    )
    assert write.mistakes(hosts + "      - {cluster: c, name: v, flavour: big}\n") == (
        "vms[0].cluster: the cluster c has no hosts; add some, or choose another cluster",
    )


@pytest.mark.parametrize(
    ("host", "mistake"),
    [
        (
            "cores: 2, memory: 64GiB",
            "hosts[0].dom0: 2 vCPUs (the default) leave VMs none of the 2 cores; "
            "give it fewer, or write dom0: none",
        ),
        (
            "cores: 4, memory: 3GiB, dom0: {vcpus: 1}",
            "hosts[0].dom0: 3 GiB leave VMs nothing of 3 GiB; give it less, or write dom0: none",
        ),
    ],
)
def test_dom0_leaves_something(write: Write, host: str, mistake: str) -> None:
    assert write.host_mistakes(f"name: h, mhz: 2600, {host}") == (mistake,)


def test_reports_do_not_repeat(write: Write) -> None:
    faster = f"datacenter: d\nheartbeat: {{interval: 500ms}}\nhosts: [{HOST}]\n"
    assert write.load(faster).tick_s == 0.5
    assert write.mistakes(f"datacenter: d\ntick: 2s\nhosts: [{HOST}]\n") == (
        "tick: 2s is longer than the heartbeat interval of 1s, so reports would repeat; "
        "write a tick no longer than that",
    )


# Speed


SPEED_8 = (
    "speed: 8 makes a heartbeat of 1 s last 0.125 s of wall time; "
    "at least 0.25 s is needed: a speed up to 4 would do"
)


def test_a_speed_that_heartbeats_cannot_follow(write: Write) -> None:
    text = f"datacenter: d\nhosts: [{HOST}]\n"
    assert write.mistakes(text + "speed: 8\n") == (SPEED_8,)
    with pytest.raises(DatacenterFileError) as refused:
        write.load(text, speed=8)
    assert str(refused.value) == SPEED_8
    assert write.load(text, speed=4).speed == 4
    assert write.load(text + "speed: 8\n", speed=2).speed == 2


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan, math.inf])
def test_a_speed_is_a_number_above_0(speed: float) -> None:
    with pytest.raises(InvalidInput, match=r"speed: .* is not possible; write a number above 0"):
        check_speed(speed, 1.0)


@pytest.mark.parametrize("interval_s", [0.1, 0.3, 1.0, 7.7777777, 300.0])
def test_the_speed_that_is_named_would_do(interval_s: float) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_speed(1e6, interval_s)
    named = float(str(refused.value).partition("up to ")[2].partition(" ")[0])
    check_speed(named, interval_s)
    assert named == pytest.approx(interval_s / 0.25, rel=1e-3)


def test_every_required_key_has_an_example() -> None:
    models = [
        model
        for model in {**vars(fault_schema), **vars(schema)}.values()
        if isinstance(model, type) and issubclass(model, values.Entry)
    ]
    required = {
        key for model in models for key, field in model.model_fields.items() if field.is_required()
    }
    assert required - {"name"} <= set(mistakes.EXAMPLES)


CURVE = "[100, 110, 120, 130, 140, 150, 160, 170, 180, 190, 200.5]"


def power_of(write: Write, power: str) -> list[tuple[float, ...]]:
    text = f"{{name: 'h-{{}}', count: 3, cores: 8, mhz: 2600, memory: 64GiB, power: {power}}}"
    return [host.power_watts for host in write.load(f"datacenter: d\nhosts: [{text}]").hosts]


def test_a_power_curve_is_that_of_every_host_or_dealt_in_turn(write: Write) -> None:
    one = (100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0, 180.0, 190.0, 200.5)
    flat = (50.0,) * 11
    assert power_of(write, CURVE) == [one] * 3
    assert power_of(write, f"[{CURVE}, {[50] * 11}]") == [one, flat, one]


@pytest.mark.parametrize(
    ("power", "mistake"),
    [
        ("[1, 2, 3]", "[1, 2, 3] is no power curve; write 11 numbers, the watts at"),
        ("[]", "[] is no power curve"),
        ("200W", "'200W' is no power curve"),
        (str([1] * 10 + [-5]), "-5 is no number of watts; write 0 or more"),
        (str([1] * 10 + ["x"]), "'x' is no number of watts"),
        (f"[{CURVE}, [1]]", "[1] is no power curve"),
    ],
)
def test_mistakes_in_power_curves(write: Write, power: str, mistake: str) -> None:
    with pytest.raises(DatacenterFileError) as refused:
        power_of(write, power)
    assert str(refused.value).startswith(f"hosts[0].power: {mistake}")
