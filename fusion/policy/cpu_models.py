"""Which processors can go on with what began on another: generations, and who follows whom."""

from __future__ import annotations

#: Server generations of a vendor, each of which has all instructions of those before it that QEMU's
#: models of them name. Left out is who does not fit the row: Cooper Lake lacks what Ice Lake has,
#: and Ice Lake what Cooper Lake has.
_LINES = (
    "nehalem westmere sandybridge ivybridge haswell broadwell skylake cascadelake icelake"
    " sapphirerapids emeraldrapids graniterapids",
    "naples rome milan genoa turin",
    "kunpeng916 kunpeng920",
)

_RANK = {
    generation: (line, rank)
    for line, generations in enumerate(_LINES)
    for rank, generation in enumerate(generations.split())
}


def has_all_of(generation: str, required: str) -> bool:
    """Whether processors of ``generation`` can do all that those of ``required`` can.

    Case, spaces and punctuation do not count. A generation that nothing is known of has no other
    equal than itself.
    """
    generation, required = _plain(generation), _plain(required)
    if generation == required:
        return True
    line, rank = _RANK.get(generation, (-1, 0))
    required_line, required_rank = _RANK.get(required, (-2, 0))
    return line == required_line and rank >= required_rank


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
