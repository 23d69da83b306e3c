"""Instances of families that are made of other families' instances: blocks, stacks, loops."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .truth import Instance, Ran

if TYPE_CHECKING:
    from .calls import Call

PARTS = frozenset(
    (
        "attention",
        "cross_attention",
        "layer_norm",
        "rms_norm",
        "mlp",
        "gated_mlp",
        "moe_routing",
        "residual",
    )
)
CELLS = frozenset(("lstm_cell", "gru_cell", "rnn_cell"))
JOINS = frozenset(("cat", "clone", "copy"))
NONE: frozenset[Any] = frozenset()


@attrs.frozen
class Composition:
    """A rule for calls of which `calls` matches the name, and `path` is found in the path.

    The core is what the cores of instances of the families `parts` within the call are. At least
    `fewest` instances of each of `needs` (alternatives) have to be there, else all is open.
    """

    family: str
    calls: str
    parts: frozenset[str]
    needs: tuple[frozenset[str], ...]
    path: str = ""
    fewest: int = 1
    chained: bool = False
    """Parts that no data connects are instances of their own."""

    def applies(self, call: Call) -> bool:
        """Whether it has something to say of this call."""
        if call.kind != "module" or re.fullmatch(self.calls, call.name) is None:
            return False
        return re.search(self.path, call.path) is not None

    def instances(self, ran: Ran, call: Call, found: Sequence[Instance]) -> Iterator[Instance]:
        """The instances that a call is, or one without core."""
        below = frozenset(ran.below[call])
        inside = [part for part in found if part.core and part.core <= below]
        parts = [part for part in inside if part.family in self.parts]
        for need in self.needs:
            if sum(part.family in need for part in parts) < self.fewest:
                yield Instance(self.family, NONE, below)
                return
        core = NONE.union(*(part.core for part in parts))
        for group in self._groups(ran, call, core):
            yield Instance(self.family, group, below - core)

    def _groups(self, ran: Ran, call: Call, core: frozenset[int]) -> Iterator[frozenset[int]]:
        if not self.chained:
            yield core
            return
        joins = ran.named(ran.below[call], JOINS)
        for group in ran.groups(sorted(core.union(joins))):
            if not core.isdisjoint(group):
                yield core.intersection(group)


BLOCK = (
    r"\w*(DecoderLayer|EncoderLayer|Block|BertLayer|RobertaLayer|ViTLayer|GPTNeoXLayer)"
    r"|(Albert|Electra|MPNet|DeiT|Swin|Segformer)Layer"
)
ATTENTION = frozenset(("attention", "cross_attention"))
FEED_FORWARD = frozenset(("mlp", "gated_mlp", "moe_routing"))
NORM = frozenset(("layer_norm", "rms_norm"))
BLOCKS = frozenset(("transformer_block",))
STACK = (
    r"(GPT2|GPTNeoX|Bloom|Llama|Mistral|Qwen2|Gemma|Phi|Falcon|Mixtral|Mpt)Model"
    r"|(GPTJ|CodeGen|GPTBigCode|StableLm|Olmo2|Cohere|Granite|Starcoder2|Nemotron|XGLM)Model"
    r"|(Whisper|Bart|OPT|Pegasus)Decoder|T5Stack|TinyDecoder|TransformerDecoder"
)
OTHER_STACK = r"\w*Encoder|Transformer|CLIP\w*Model|AlbertTransformer|(DeiT|Segformer)Model"
PAIR = r"(T5|Bart|Whisper|Pegasus)Model|T5ForConditionalGeneration|Transformer"

COMPOSITIONS = (
    Composition("transformer_block", BLOCK, PARTS, (ATTENTION, FEED_FORWARD, NORM)),
    Composition("decoder", STACK, BLOCKS, (BLOCKS,), path=r"^(?!.*encoder)", fewest=2),
    Composition("decoder", OTHER_STACK, NONE, (BLOCKS,)),
    Composition("decoder", "T5Stack", NONE, (BLOCKS,), path="encoder"),
    Composition("encoder_decoder", r"\w*Encoder|T5Stack", NONE, (BLOCKS,)),
    Composition("encoder_decoder", PAIR, BLOCKS, (BLOCKS,), fewest=3),
    Composition("cell_loop", r"LSTM|GRU|RNN|\w*Loop", CELLS, (CELLS,), fewest=2, chained=True),
)


def compose(
    ran: Ran, basic: Sequence[Instance], compositions: Sequence[Composition]
) -> Iterator[Instance]:
    """The composed instances of a graph, given its basic ones."""
    found = list(basic)
    for composition in compositions:
        calls = [call for call in ran.calls if composition.applies(call)]
        made = [one for call in calls for one in composition.instances(ran, call, found)]
        found += made
        yield from made
