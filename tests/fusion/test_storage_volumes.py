"""Thick volumes take their space at once, thin ones as they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import FusionError, InvalidInput, NotFound, Refused
from fusion.spec import GIB, DatastoreSpec
from fusion.storage.volumes import DatastoreFull, DatastoreUse, Disk, Volumes

KIB = 1024


def volumes(capacity_bytes: int = 10 * GIB) -> Volumes:
    return Volumes("san-1", [DatastoreSpec("ds-1", capacity_bytes), DatastoreSpec("ds-2", GIB)])


def thin(size_bytes: int, index: int = 0, datastore: str = "ds-1") -> Disk:
    return Disk(index, datastore, size_bytes, thin=True)


def thick(size_bytes: int, index: int = 0, datastore: str = "ds-1") -> Disk:
    return Disk(index, datastore, size_bytes, thin=False)


def used(of: Volumes, name: str = "ds-1") -> tuple[int, int, int]:
    """Return what is allocated and provisioned on a datastore, and how many volumes it has."""
    use = next(each for each in of.use() if each.name == name)
    return use.allocated_bytes, use.provisioned_bytes, use.volumes


def test_a_thick_volume_takes_its_size_at_once_and_writes_take_no_more() -> None:
    array = volumes()
    array.create(1, [thick(4 * GIB)])
    assert used(array) == (4 * GIB, 4 * GIB, 1)
    array.find(1, 0).write({0: GIB})
    assert used(array) == (4 * GIB, 4 * GIB, 1)


def test_a_thin_volume_takes_what_is_written_and_for_a_block_again_the_difference() -> None:
    array = volumes()
    array.create(1, [thin(4 * GIB)])
    assert used(array) == (0, 4 * GIB, 1)
    array.find(1, 0).write({0: 4 * KIB, 8 * KIB: 4 * KIB})
    array.find(1, 0).write({0: 8 * KIB})
    assert used(array)[0] == 12 * KIB
    array.find(1, 0).write({0: 4 * KIB})
    assert used(array)[0] == 8 * KIB


def test_only_thin_volumes_may_be_larger_than_their_datastore() -> None:
    array = volumes()
    assert array.create(1, [thin(25 * GIB)]) == [thin(25 * GIB)]
    assert array.use()[0].overcommit == 2.5
    with pytest.raises(
        DatastoreFull, match=r"ds-1 has 10 GiB of 10 GiB free, too little for thick .* 11 GiB; make"
    ):
        array.create(2, [thick(11 * GIB)])


def test_a_datastore_without_space_is_not_overcommitted_for_that() -> None:
    assert DatastoreUse("ds-1", 0, 0, 0, 0).overcommit == 0.0


@pytest.mark.parametrize(
    ("disks", "error", "said"),
    [
        (
            [thin(GIB), thick(GIB, 1, "ds-9")],
            InvalidInput,
            "no datastore 'ds-9'; it has ds-1, ds-2",
        ),
        ([thin(GIB), thin(0, 1)], InvalidInput, "a volume of 0 bytes"),
        ([thin(GIB), thin(1 << 63, 1)], InvalidInput, "cannot be made"),
        ([thick(6 * GIB), thick(6 * GIB, 1)], DatastoreFull, "thick volumes of 12 GiB"),
        (
            [thin(GIB), thin(2 * GIB)],
            Refused,
            "there already: thin, 1 GiB on ds-1, not thin, 2 GiB",
        ),
        ([thin(GIB, 1), thick(GIB, 7)], Refused, "volume 7 of VM i-00000009 is there already"),
    ],
)
def test_a_vm_whose_volumes_cannot_all_be_made_gets_none(
    disks: list[Disk], error: type[FusionError], said: str
) -> None:
    array = volumes()
    array.create(9, [thin(GIB, 7)])
    before = array.use()
    with pytest.raises(error, match=said):
        array.create(9, disks)
    assert array.use() == before
    assert array.get(9, 0) is None


def test_making_volumes_again_makes_what_is_missing() -> None:
    array = volumes()
    array.create(1, [thick(GIB)])
    assert array.create(1, [thick(GIB), thin(GIB, 1)]) == [thin(GIB, 1)]
    assert array.create(1, [thick(GIB), thin(GIB, 1)]) == []
    assert used(array) == (GIB, 2 * GIB, 2)


def test_deleted_volumes_give_their_space_back() -> None:
    array = volumes()
    array.create(1, [thick(GIB), thin(GIB, 1), thin(GIB, 2, "ds-2")])
    array.find(1, 1).write({0: KIB})
    array.find(1, 2).write({0: KIB})
    assert 1 in array
    array.delete(1)
    array.delete(1)
    assert used(array) == used(array, "ds-2") == (0, 0, 0)
    assert 1 not in array


def test_a_write_that_cannot_be_leaves_nothing() -> None:
    array = volumes(8 * KIB)
    array.create(1, [thin(16 * KIB)])
    array.find(1, 0).write({0: 4 * KIB})
    with pytest.raises(InvalidInput, match="a block of 4096 bytes at 12289 ends past them"):
        array.find(1, 0).write({4 * KIB: 1, 12 * KIB + 1: 4 * KIB})
    with pytest.raises(DatastoreFull, match="ds-1 is full: 4 KiB of 8 KiB are free and 8 KiB are"):
        array.find(1, 0).write({4 * KIB: 4 * KIB, 8 * KIB: 4 * KIB})
    with pytest.raises(NotFound, match="array san-1 has no volume 1 of VM i-00000001"):
        array.find(1, 1).write({0: 1})
    assert array.find(1, 0).blocks == {0: 4 * KIB}
    assert used(array)[0] == 4 * KIB


def test_a_datastore_is_full_until_there_is_room_for_what_was_refused() -> None:
    array = volumes(10 * KIB)
    [full, other] = array.datastores
    array.create(1, [thin(GIB)])
    array.create(2, [thin(GIB)])
    array.find(1, 0).write({0: 8 * KIB})
    assert not full.full
    for size_bytes in (4 * KIB, 6 * KIB):
        with pytest.raises(DatastoreFull):
            array.find(2, 0).write({0: size_bytes})
    assert full.full
    array.find(1, 0).write({0: 7 * KIB})
    assert full.full  # 3 KiB are free, and 4 are wanted
    array.find(1, 0).write({0: 6 * KIB})
    assert not full.full
    array.find(2, 0).write({0: 4 * KIB})
    assert full.full  # not a byte is free
    assert not other.full


def test_what_is_put_back_is_not_asked_whether_it_fits() -> None:
    array = volumes(4 * KIB)
    array.restore(1, thin(GIB), {0: 8 * KIB})
    array.restore(2, thick(GIB))
    assert used(array) == (8 * KIB + GIB, 2 * GIB, 2)
    assert array.datastores[0].full
    with pytest.raises(DatastoreFull, match="ds-1 is full: 0 B of 4 KiB"):
        array.find(1, 0).write({8 * KIB: 1})
    array.find(1, 0).write({0: 4 * KIB})  # gives back
    with pytest.raises(NotFound, match="volume 0 of VM i-00000003 is on datastore 'ds-9', which"):
        array.restore(3, thin(GIB, datastore="ds-9"))


sizes = st.integers(1, 40)
writes = st.tuples(
    st.just("write"), st.integers(1, 3), st.dictionaries(st.integers(0, 30), sizes, max_size=4)
)
creates = st.tuples(
    st.just("create"),
    st.integers(1, 3),
    st.lists(st.builds(Disk, st.integers(0, 1), st.just("ds-1"), sizes, st.booleans()), max_size=2),
)
deletes = st.tuples(st.just("delete"), st.integers(1, 3), st.none())


@given(steps=st.lists(st.one_of(writes, creates, deletes), max_size=30))
def test_the_books_always_balance(steps: list[tuple[str, int, object]]) -> None:
    array = volumes(60)
    for step, vm_number, what in steps:
        before = array.use()
        try:
            if step == "delete":
                array.delete(vm_number)
            elif step == "create":
                array.create(vm_number, what)  # type: ignore[arg-type]
            else:
                array.find(vm_number, 0).write(what)  # type: ignore[arg-type]
        except FusionError:
            assert array.use() == before
    there = [array.get(vm, index) for vm in array for index in (0, 1)]
    found = [volume for volume in there if volume is not None]
    assert used(array) == (
        sum(
            sum(volume.blocks.values()) if volume.disk.thin else volume.disk.size_bytes
            for volume in found
        ),
        sum(volume.disk.size_bytes for volume in found),
        len(found),
    )
    assert used(array)[0] <= 60
    for volume in found:
        assert all(at + size <= volume.disk.size_bytes for at, size in volume.blocks.items())


def test_a_ballast_fills_a_datastore_to_a_share_and_goes_again() -> None:
    array = volumes()
    array.create(1, [thin(8 * GIB), thick(GIB, index=1)])
    array.find(1, 0).write({0: GIB})
    array.fill("ds-1", 0.9)
    assert used(array) == (9 * GIB, 9 * GIB, 2)
    with pytest.raises(DatastoreFull, match="ds-1 is full: 1 GiB of 10 GiB are free and 2 GiB"):
        array.find(1, 0).write({4 * GIB: 2 * GIB})
    with pytest.raises(DatastoreFull, match="too little for thick volumes of 2 GiB"):
        array.create(2, [thick(2 * GIB)])
    assert array.create(2, [thin(2 * GIB)])  # which needs no room as yet
    array.find(1, 0).write({0: GIB})  # nor does what is there already
    array.find(1, 0).write({4 * GIB: GIB})
    assert array.datastores[0].full
    array.fill("ds-1", 0.0)
    assert used(array)[0] == 3 * GIB
    assert not array.datastores[0].full


def test_a_ballast_takes_the_place_of_another_and_nothing_where_it_is_fuller_already() -> None:
    array = volumes()
    array.create(1, [thick(6 * GIB)])
    for share, allocated in ((0.8, 8), (1.0, 10), (0.5, 6), (0.0, 6)):
        array.fill("ds-1", share)
        assert used(array)[0] == allocated * GIB
    with pytest.raises(NotFound, match="no datastore 'ds-9'"):
        array.fill("ds-9", 1.0)
