"""Generation of text as one loop on the executor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import torch

from genie_core.compat import NAME
from genie_core.errors import CaptureError
from genie_plugins.control_flow.loops import while_loop
from genie_plugins.control_flow.picking import Picker

Tensor = torch.Tensor
_State = tuple[Tensor, ...]


@torch.no_grad()
def generate(
    model: Any,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    streamer: Any = None,
    chunk: int = 8,
    **options: Any,
) -> Tensor:
    """Continue `input_ids`, an int64 [batch, length] on the device, as `model.generate` does.

    The loop over tokens runs on the executor, with a static cache over the unmodified model: one
    round trip in all. `options` are those of a `GenerationConfig`, over the model's own:
    max_new_tokens, do_sample, temperature, top_k, top_p, eos_token_id, pad_token_id. A `streamer`
    (of transformers) gets the tokens as they come, `chunk` at once, for a round trip each.

    Returns an int64 [batch, length + new tokens] on the device. Raises `CaptureError` for a
    model or an option that the loop cannot take.
    """
    if streamer is not None:
        streamer.put(input_ids.cpu())
    parts = [input_ids]
    size = chunk if streamer is not None else 0
    more = {"attention_mask": attention_mask, "chunk": size, **options}
    for tokens in stream_tokens(model, input_ids, **more):
        parts.append(tokens.to(input_ids.device))
        if streamer is not None:
            for column in tokens.cpu().unbind(1):
                streamer.put(column)
    if streamer is not None:
        streamer.end()
    return torch.cat(parts, 1)


@torch.no_grad()
def stream_tokens(
    model: Any,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    chunk: int = 8,
    **options: Any,
) -> Iterator[Tensor]:
    """Yield the new tokens as they come: an int64 [batch, at most `chunk`] each time.

    Each costs a round trip; a `chunk` of 0 is all of them at once. See :func:`generate`.
    """
    picker = Picker.of(model, options)
    loop = Loop.begin(model, input_ids, attention_mask, picker)
    done = 0
    while done < picker.count:
        end = min(done + chunk, picker.count) if chunk else picker.count
        loop.run(end)
        tokens = loop.tokens(done, end)
        yield tokens
        if tokens.shape[1] < end - done:
            return
        done = end


def _cache(model: Any, batch: int, length: int, device: torch.device) -> Any:
    """A static cache of transformers, as its version makes one."""
    from transformers import StaticCache

    given = {
        "config": model.config,
        "max_batch_size": batch,
        "max_cache_len": length,
        "device": device,
        "dtype": model.dtype,
    }
    taken = inspect.signature(StaticCache.__init__).parameters
    cache = StaticCache(**{key: value for key, value in given.items() if key in taken})
    if any(getattr(layer, "is_sliding", False) for layer in getattr(cache, "layers", ())):
        reason = "its attention slides over a window, which the cache counts on the client"
        raise CaptureError(f"generate({type(model).__name__})", f"{reason}: use model.generate")
    return cache


@attrs.define
class Loop:
    """The model, its cache, and what is carried from token to token."""

    step: Callable[[Tensor], Tensor]
    """Logits after a token."""
    picker: Picker
    ids: Tensor
    """The new tokens, and in a last column how many there are; int64 [batch, count + 1]."""
    state: _State
    """How many tokens there are, the latest, who goes on."""

    @classmethod
    def begin(cls, model: Any, input_ids: Tensor, mask: Tensor | None, picker: Picker) -> Loop:
        """Read the prompt, and pick the first token."""
        if input_ids.device.type != NAME:
            raise CaptureError("generate", f"its input is on {input_ids.device}: move it")
        batch, length = input_ids.shape
        caller = _Caller.of(model, mask, batch, length, length + picker.count, input_ids.device)
        logits = caller.prompt(input_ids)
        ids = torch.full((batch, picker.count + 1), picker.padding, device=input_ids.device)
        going = torch.ones(batch, dtype=torch.bool, device=input_ids.device)
        token, going = picker.pick(logits, going)
        ids[:, :1] = token
        one = torch.ones(1, dtype=torch.int64, device=input_ids.device)
        return cls(caller.token, picker, ids, (one, token, going))

    def run(self, end: int) -> None:
        """Have the executor go on until there are `end` tokens, or nobody goes on."""
        limit = torch.full((1,), end, device=self.ids.device)
        self.state = while_loop(
            lambda count, _, going: (count < limit).squeeze(0) & going.any(),
            self._body,
            self.state,
            (),
        )

    def _body(self, count: Tensor, token: Tensor, going: Tensor) -> _State:
        token, going = self.picker.pick(self.step(token), going)
        self.ids.index_copy_(1, count, token)
        return count + 1, token, going

    def tokens(self, begin: int, end: int) -> Tensor:
        """The new tokens from `begin` to `end`, or to where nobody goes on."""
        if not self.picker.stops:
            return self.ids[:, begin:end].clone()
        self.ids[:, -1:] = self.state[0]
        found = self.ids.cpu()
        return found[:, begin : min(end, int(found[0, -1]))]


@attrs.frozen
class _Caller:
    """Calls the model with its cache under the names that its version has."""

    model: Any
    cache: dict[str, Any]
    mask: Tensor | None
    """Of prompt and new tokens; int64 [batch, whole length]."""
    positions: Tensor | None
    """Of the latest token; int64 [batch, 1]. Written to in place."""
    seen: Tensor | None
    """How many tokens the cache holds, for versions that ask for it; int64 [1]."""

    @classmethod
    def of(
        cls, model: Any, mask: Tensor | None, batch: int, prompt: int, length: int, device: Any
    ) -> _Caller:
        taken = inspect.signature(model.forward).parameters
        name = "cache" if "cache" in taken else "past_key_values"
        cache = {name: _cache(model, batch, length, device), "use_cache": True}
        seen = torch.zeros(1, dtype=torch.int64, device=device)
        if mask is None:
            return cls(model, cache, None, None, seen if "cache_position" in taken else None)
        whole = torch.ones(batch, length, dtype=torch.int64, device=device)
        whole[:, :prompt] = mask
        positions = mask.sum(1, keepdim=True) - 1
        return cls(model, cache, whole, positions, seen if "cache_position" in taken else None)

    def prompt(self, ids: Tensor) -> Tensor:
        more: dict[str, Any] = {}
        if self.mask is not None:
            mask = self.mask[:, : ids.shape[1]]
            more["position_ids"] = (mask.cumsum(1) - 1).masked_fill(mask == 0, 1)
        return self._call(ids, more)

    def token(self, token: Tensor) -> Tensor:
        more: dict[str, Any] = {}
        if self.positions is not None:
            self.positions.add_(1)
            more["position_ids"] = self.positions
        return self._call(token, more)

    def _call(self, ids: Tensor, more: dict[str, Any]) -> Tensor:
        if self.mask is not None:
            more["attention_mask"] = self.mask
        if self.seen is not None:
            more["cache_position"] = torch.arange(ids.shape[1], device=ids.device) + self.seen
            self.seen.add_(ids.shape[1])
        logits: Tensor = self.model(ids, **self.cache, **more).logits
        return logits[:, -1].to(torch.float32)
