"""Pages that are made, sent and compared for real, and what is made of a share of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from cluster.agent.migration import codec, pages
from cluster.agent.migration.framing import Data, framed, unframed
from cluster.agent.migration.guest_state import GuestState
from cluster.agent.migration.pages import PageReader, PageWriter, sampled
from cluster.rpc.convert import COMPRESSIONS
from cluster.rpc.v1 import migration_pb2 as pb
from fusion.errors import FusionError, InvalidInput, Refused
from fusion.memory.ram import GuestRam, Taken
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content, GuestMemory, Mix, WriteSet
from fusion.migration.settings import Compression, MigrationSettings
from fusion.migration.wire import Cost
from fusion.passage import Passage
from fusion.spec import VmSpec
from fusion.vm import VmState
from tests.cluster.agent_migration_world import (
    EPOCH,
    MOVED,
    STAYED,
    THERE,
    VM,
    MigrationWorld,
    busy_vm,
    migrating,
)
from tests.cluster.virtual_time import in_virtual_time

MEMORY = GuestMemory("small", 0.25, Mix(), (WriteSet(1 << 20, 1 << 20),))
MEMORY_BYTES = 16 << 20
SEED = 7
ZERO = CONTENTS.index(Content.ZERO)


def small_vm() -> VmSpec:
    return replace(busy_vm(), memory_bytes=MEMORY_BYTES, memory=MEMORY)


def settings(compression: Compression) -> MigrationSettings:
    return MigrationSettings(compression=compression)


def all_pages() -> Taken:
    return GuestRam(MEMORY, MEMORY_BYTES).take_all()


# --- over the wire


@pytest.mark.parametrize("compression", list(Compression))
def test_every_page_is_made_and_compared_where_all_are_wanted(compression: Compression) -> None:
    async def scenario() -> None:
        async with migrating(MigrationWorld(sample=1.0)) as world:
            await world.migrate(small_vm(), settings=settings(compression))
            outcome = await world.outcome()
            assert outcome.phase == MOVED
            assert outcome.zero_pages == 0.25 * MEMORY_BYTES / PAGE_BYTES
            sent_pages = outcome.raw_bytes / PAGE_BYTES
            assert outcome.checked_pages == sent_pages - outcome.zero_pages

    in_virtual_time(scenario())


def test_pages_that_change_on_their_way_end_the_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(packed: Data, compression: Compression, size_bytes: int) -> Data:
        data = bytearray(codec.unpack(packed, compression, size_bytes).view)
        data[len(data) // 2] ^= 1
        return Data(bytes(data), 0, len(data))

    async def scenario() -> None:
        async with migrating(MigrationWorld(sample=0.01)) as world:
            with monkeypatch.context() as patched:
                patched.setattr(pages, "codec", replace_unpack(damaged))
                await world.migrate(small_vm())
                outcome = await world.outcome()
            assert (outcome.phase, outcome.epoch) == (STAYED, EPOCH)
            assert "did not arrive as they were" in outcome.reason
            assert world.states_at(world.agent) == {VM: VmState.RUNNING}
            await world.settled()
            assert not world.expected_bytes()
            await world.migrate(small_vm(), migration="m-2")
            assert (await world.outcome("m-2")).epoch == THERE

    in_virtual_time(scenario())


def replace_unpack(unpack: object) -> object:
    """Return the codec, but for how it unpacks."""

    class Codec:
        pack = staticmethod(codec.pack)

    Codec.unpack = staticmethod(unpack)  # type: ignore[attr-defined, arg-type]
    return Codec


# --- messages


@pytest.mark.parametrize("sample", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("compression", list(Compression))
def test_what_is_written_can_be_read(compression: Compression, sample: float) -> None:
    writer, reader = PageWriter(SEED, compression, sample), PageReader(SEED, MEMORY, MEMORY_BYTES)
    taken = all_pages()
    for part in taken.split(writer.pages_at_most(1 << 20)):
        frame = unframed(writer.write(1, part)[0])
        reader.read(frame.message.pages, frame.data)
    assert reader.ram.complete
    assert reader.ram.digest() == GuestRam(MEMORY, MEMORY_BYTES).digest()
    filled = int(taken.pages[taken.content != ZERO].sum())
    assert sample * filled <= reader.checked_pages <= sample * filled + 20


def test_pages_of_another_version_are_found() -> None:
    writer, reader = PageWriter(SEED, Compression.NONE, 1.0), PageReader(8, MEMORY, MEMORY_BYTES)
    frame = unframed(writer.write(1, all_pages())[0])
    with pytest.raises(Refused, match="did not arrive as they were"):
        reader.read(frame.message.pages, frame.data)


@pytest.mark.parametrize(
    ("data_pages", "data"), [([1, 1], bytes(2 * PAGE_BYTES)), ([2], b"short"), ([], b"much")]
)
def test_data_that_does_not_fit_its_pages_is_refused(data_pages: list[int], data: bytes) -> None:
    message = pb.Pages(
        group=[0],
        version=[1],
        pages=[2],
        compression=COMPRESSIONS[Compression.NONE],
        data_pages=data_pages,
    )
    with pytest.raises(FusionError):
        PageReader(SEED, MEMORY, MEMORY_BYTES).read(message, Data(data, 0, len(data)))


def test_what_a_message_takes_follows_how_far_its_sample_was_packed() -> None:
    part = all_pages()
    for compression in (Compression.LZ4, Compression.ZSTD):
        figured = Cost.of(part, compression).wire_bytes
        message, whole = PageWriter(SEED, compression, 1.0).write(1, part)
        _, sampled_cost = PageWriter(SEED, compression, 0.2).write(1, part)
        assert whole.wire_bytes == pytest.approx(figured, rel=0.15)
        assert sampled_cost.wire_bytes == pytest.approx(whole.wire_bytes, rel=0.15)
        data_bytes = unframed(message).data.size_bytes
        assert data_bytes < whole.wire_bytes < data_bytes + 9 * part.total_pages + 1


@given(
    st.lists(st.tuples(st.integers(1, 600), st.integers(0, len(CONTENTS) - 1)), min_size=1),
    st.floats(0.0, 1.0),
)
def test_a_sample_is_the_share_that_was_asked_for(
    rows: list[tuple[int, int]], share: float
) -> None:
    counts = np.array([count for count, _ in rows])
    contents = np.array([code for _, code in rows], dtype=np.int8)
    made = sampled(counts, contents, share)
    filled = int(counts[contents != ZERO].sum())
    assert (made <= counts).all()
    assert not made[contents == ZERO].any()
    assert (made >= 0).all()
    assert share * filled - 1e-6 <= made.sum() < share * filled + 1


@given(st.binary(max_size=3), st.lists(st.binary(max_size=300), max_size=4))
def test_a_frame_is_the_message_that_protobuf_would_have_made(
    guest: bytes, data: list[bytes]
) -> None:
    message = pb.Pages(round=3, group=[1, 2], version=[1, 1], pages=[4, 5], data_pages=[1, 1])
    serialised = framed(message, data)
    whole = pb.Pages()
    whole.CopyFrom(message)
    whole.data = b"".join(data)
    assert pb.Outgoing.FromString(serialised) == pb.Outgoing(pages=whole)
    frame = unframed(serialised)
    assert frame.message == pb.Outgoing(pages=message)
    assert bytes(frame.data.view) == whole.data
    other = pb.Outgoing(final=pb.Final(guest=guest))
    assert unframed(other.SerializeToString()).message == other


@given(st.binary(max_size=40))
def test_what_is_no_frame_is_read_as_protobuf_reads_it(garbage: bytes) -> None:
    try:
        whole = pb.Outgoing.FromString(garbage)
    except DecodeError:
        with pytest.raises(DecodeError):
            unframed(garbage)
    else:
        frame = unframed(garbage)
        frame.message.pages.data = bytes(frame.data.view) or frame.message.pages.data
        assert frame.message.pages == whole.pages


@given(st.floats(0, 1e12), st.floats(0, 1e9), st.floats(0, 8), st.binary(max_size=99))
def test_the_state_of_a_guest_arrives_as_it_was(
    used_mhz_s: float, ready_s: float, added_load: float, ledger: bytes
) -> None:
    state = GuestState(Passage(used_mhz_s, ready_s, added_load), ledger)
    assert GuestState.unpacked(state.packed()) == state


def test_a_state_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no state"):
        GuestState.unpacked(b"short")
