"""How far and how fast pages pack: written by scripts/measure_packing.py."""

from collections.abc import Mapping

from fusion.memory.spec import Content
from fusion.migration.settings import Compression

#: Whoever measures again, with other versions, gets slightly other ratios.
COMPRESSORS = "lz4 1.9.4, zstd 1.5.7 level 1"

#: Of which a thread packed so fast.
MACHINE = "AMD EPYC"

PACKED_SHARES: Mapping[Compression, Mapping[Content, float]] = {
    Compression.LZ4: {
        Content.REPETITIVE: 0.0113,
        Content.TEXT: 0.4106,
        Content.CODE: 0.5461,
        Content.RANDOM: 1.0001,
    },
    Compression.ZSTD: {
        Content.REPETITIVE: 0.0065,
        Content.TEXT: 0.2445,
        Content.CODE: 0.4716,
        Content.RANDOM: 1.0000,
    },
}

PACKING_BYTES_S: Mapping[Compression, Mapping[Content, float]] = {
    Compression.LZ4: {
        Content.REPETITIVE: 2338e6,
        Content.TEXT: 571e6,
        Content.CODE: 467e6,
        Content.RANDOM: 1355e6,
    },
    Compression.ZSTD: {
        Content.REPETITIVE: 4180e6,
        Content.TEXT: 383e6,
        Content.CODE: 326e6,
        Content.RANDOM: 1724e6,
    },
}
