"""How the next token is picked: greedily or by chance, and when a sequence ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch

from genie_core.errors import CaptureError

Tensor = torch.Tensor
Warper = Callable[[Any, Tensor], Tensor]
_TAKEN = (
    "max_new_tokens",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "eos_token_id",
    "pad_token_id",
)
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "repetition_penalty": (None, 1.0),
    "encoder_repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "typical_p": (None, 1.0),
    "min_p": (None, 0.0),
    "epsilon_cutoff": (None, 0.0),
    "eta_cutoff": (None, 0.0),
    "penalty_alpha": (None, 0.0),
    "guidance_scale": (None, 1.0),
    "bad_words_ids": (None, []),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "sequence_bias": (None, {}),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "stop_strings": (None, []),
}
"""Options that the loop has no room for, and what they are when nobody wants them."""


@attrs.frozen
class Picker:
    """Picks tokens as `model.generate` would, without looking at a value on the client."""

    count: int
    """The most new tokens."""
    samples: bool
    warpers: tuple[Warper, ...]
    ends: tuple[int, ...]
    padding: int
    """What follows an end, while others go on."""

    @property
    def stops(self) -> bool:
        """Whether there may be fewer tokens than `count`."""
        return bool(self.ends)

    @classmethod
    def of(cls, model: Any, options: dict[str, Any]) -> Picker:
        """From a model's `generation_config`, and options that outrank it."""
        for name in options:
            if name not in _TAKEN:
                raise CaptureError(f"generate({name}=…)", f"the loop takes {', '.join(_TAKEN)}")
        config = model.generation_config
        for name, neutral in _NEUTRAL.items():
            if getattr(config, name, None) not in neutral:
                reason = "the loop on the executor has no room for that: use model.generate"
                raise CaptureError(f"generate with {name} of the model's generation_config", reason)
        chosen = {name: options.get(name, getattr(config, name, None)) for name in _TAKEN}
        ends = chosen["eos_token_id"]
        ends = () if ends is None else tuple(ends) if isinstance(ends, list | tuple) else (ends,)
        samples = bool(chosen["do_sample"])
        padding = chosen["pad_token_id"]
        if padding is None:
            padding = ends[0] if ends else 0
        count = int(chosen["max_new_tokens"] or 20)
        return cls(count, samples, _warpers(chosen) if samples else (), ends, padding)

    def pick(self, logits: Tensor, going: Tensor) -> tuple[Tensor, Tensor]:
        """The next token of each sequence, int64 [batch, 1], and which go on, bool [batch]."""
        for warper in self.warpers:
            logits = warper(None, logits)
        if self.samples:
            token = torch.multinomial(torch.softmax(logits, -1), 1)
        else:
            token = logits.argmax(-1, keepdim=True)
        if not self.ends:
            return token, going
        token = torch.where(going.unsqueeze(1), token, self.padding)
        for end in self.ends:
            going = going & (token != end).squeeze(1)
        return token, going


def _warpers(chosen: dict[str, Any]) -> tuple[Warper, ...]:
    import transformers as hf

    top_k = 50 if chosen["top_k"] is None else chosen["top_k"]  # as model.generate has it
    warpers: list[Warper] = []
    if chosen["temperature"] not in (None, 1.0):
        warpers.append(hf.TemperatureLogitsWarper(chosen["temperature"]))
    if top_k:
        warpers.append(hf.TopKLogitsWarper(top_k))
    if chosen["top_p"] not in (None, 1.0):
        warpers.append(hf.TopPLogitsWarper(chosen["top_p"]))
    return tuple(warpers)
