"""A byte-level byte-pair vocabulary for the bundled text encoder, derived from a short word list.

The list holds words that captions of scenes, objects and materials use. A word on it is one token; any other text
falls back to pieces and, at worst, to single bytes (Sennrich et al. 2016; GPT-2's byte alphabet).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from types import MappingProxyType

BEGIN = "<|startoftext|>"
END = "<|endoftext|>"
END_OF_WORD = "</w>"

WORDS = """
a an the of in on at and with without by from to over under behind near no photo photograph picture image view scene
empty clean background inpainting removed object thing indoor outdoor inside outside room house home building street
city town village garden park forest field beach sea ocean lake river mountain hill desert sky cloud sun snow rain
water fire ice rock stone sand soil earth grass leaf leaves tree bush flower plant hedge moss wood wooden plank board
log bark brick tile tiles concrete cement plaster wall floor ceiling roof door window stairs step path road pavement
bridge fence gate column arch tower castle church metal iron steel rust gold silver copper glass mirror plastic paper
carpet cloth fabric cotton wool leather canvas curtain rug pattern texture surface gradient noise smooth rough shiny
matte soft hard striped stripes checked checkerboard dotted dots grid line lines edge edges shape shapes circle square
triangle polygon border corner shadow light dark bright dim black white grey gray red green blue yellow orange brown
purple pink beige colorful plain table desk chair bench sofa couch bed shelf cupboard cabinet drawer lamp book box bag
basket bottle cup mug bowl plate pot pan vase jar can clock phone computer keyboard screen television camera radio
guitar piano drum ball toy doll penguin statue sculpture fountain sign post pole pipe wire rope wheel car truck bus
train plane boat ship bicycle motorcycle machine tool engine person man woman child people face hand head animal dog
cat bird fish horse cow sheep pig bear fox lion tiger elephant monkey snake lizard frog turtle insect butterfly bee
spider crab shell food fruit apple banana orange lemon bread cake cheese pizza meat vegetable hat shirt coat dress
shoe glove helmet mask umbrella towel pillow blanket kitchen bathroom bedroom office garage shop market museum
school library hall corridor terrace balcony yard playground stadium station harbor close far front back left right
small large big long short old new wet dry natural random
""".split()  # noqa: SIM905


@cache
def byte_pair_vocabulary() -> tuple[Mapping[str, int], Sequence[tuple[str, str]]]:
    """Learn the merges that turn each listed word into one token; they are always the same.

    Returns:
        token -> id in CLIP's order (bytes, bytes ending a word, merged pieces, begin, end); merges in rank order.
    """
    bytes_alphabet = byte_symbols()
    tokens = bytes_alphabet + [symbol + END_OF_WORD for symbol in bytes_alphabet]
    words = [[*word[:-1], word[-1] + END_OF_WORD] for word in dict.fromkeys(WORDS) if len(word) > 1]
    merges: list[tuple[str, str]] = []
    while words:
        pair = _most_frequent_pair(words)
        merges.append(pair)
        tokens.append("".join(pair))
        words = [merged for word in words if len(merged := _merged(word, pair)) > 1]
    tokens = [*dict.fromkeys(tokens), BEGIN, END]
    return MappingProxyType({token: index for index, token in enumerate(tokens)}), tuple(merges)


def byte_symbols() -> list[str]:
    """The 256 printable stand-ins for bytes that GPT-2's and CLIP's tokenizers use, in CLIP's order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def _most_frequent_pair(words: list[list[str]]) -> tuple[str, str]:
    counts = Counter(pair for word in words for pair in pairwise(word))
    return max(counts, key=lambda pair: (counts[pair], pair))  # the pair itself breaks ties, so order never matters


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out
