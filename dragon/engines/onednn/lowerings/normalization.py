"""BatchNorm and BN, alone or with the Scale and the ReLU after them, as one primitive."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.engines.onednn.kernels import batch_norm
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import of_affine, of_batch
from dragon.engines.onednn.lowerings.channel_sums import Moments, gradients_by_parts, moments_by_parts
from dragon.engines.onednn.lowerings.neurons import from_result
from dragon.engines.onednn.lowerings.norm_gradients import backward_by_parts
from dragon.engines.onednn.lowerings.relu_mask import nan_restored
from dragon.engines.onednn.lowerings.running_average import moving
from dragon.engines.onednn.lowerings.skipped_blobs import SkippedBlobs
from dragon.engines.onednn.plan.bound import Bound
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.steps import Step
from dragon.graph.node import Node
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.bases.batch_statistics import BatchStatistics
    from dragon.memory.blob import Blob

__all__ = ["Chain", "Normalization", "normalize", "normalize_chain"]


@dataclass(frozen=True)
class Chain:
    """The layers that one normalisation primitive computes."""

    norm: Node
    scale: Node | None = None
    relu: Node | None = None

    @property
    def nodes(self) -> list[Node]:
        """The layers in order."""
        return [node for node in (self.norm, self.scale, self.relu) if node is not None]


@lowers("BatchNorm", "BN")
def normalize(b: Builder, node: Node) -> Backward | None:
    """Build a normalisation by itself."""
    return normalize_chain(b, Chain(node))


def normalize_chain(b: Builder, chain: Chain) -> Backward | None:
    """Build the layers of a chain as one primitive."""
    return Normalization(b, chain).build()


class Normalization:
    """One normalisation primitive with its memories and steps.

    tops: of the layers of the chain; top: of the last one. affine: scale and shift blobs, or None. gamma, beta: their
    values in forward; gamma_in_backward, beta_in_backward: in backward. All vectors are (C,). constants: factors and
    shifts by running statistics.
    """

    def __init__(self, b: Builder, chain: Chain) -> None:
        self.b = b
        self.chain = chain
        self.layer = cast("BatchStatistics", chain.norm.layer)
        self.bottom = chain.norm.bottoms[0]
        self.tops = [node.tops[0] for node in chain.nodes]
        self.top = self.tops[-1]
        shape = self.bottom.shape
        if not 2 <= len(shape) <= 5 or self.bottom.count == 0:
            raise NotLoweredError("axes other than (N, C, up to 3 spatial)")
        self.channels = shape[1]
        self.count = math.prod(shape) // shape[1]
        if not self.layer.by_kernels:
            raise NotLoweredError("ghost batches, or rows of other ranks")
        self.affine = self._affine()
        self.by_running = self.layer.use_global
        self.spec = batch_norm.NormSpec(
            self.layer.normalization.eps,
            global_stats=self.by_running,
            scale=self.affine is not None,
            shift=self.affine is not None and self.affine[1] is not None,
            relu=self.chain.relu is not None,
        )
        vector = MemoryDesc.plain((self.channels,))
        self.mean, self.variance = Memory(b.device, vector), Memory(b.device, vector)
        self.constants = np.zeros((2, self.channels), np.float32)
        self.gamma, self.beta = Memory(b.device, vector), Memory(b.device, vector)
        self.skipped = SkippedBlobs(self)

    @cached_property
    def gamma_in_backward(self) -> Memory:
        """The scales that backward uses, of shape (C,); made where there is a backward."""
        return Memory(self.b.device, self.gamma.desc)

    @cached_property
    def beta_in_backward(self) -> Memory:
        """The shifts that backward uses, of shape (C,); made where there is a backward."""
        return Memory(self.b.device, self.beta.desc)

    def _affine(self) -> list[Blob | None] | None:
        """Scale and shift blobs (the shift may be missing), of the layer or of the Scale after it."""
        if self.chain.scale is None:
            return list(self.layer.affine) if self.layer.affine is not None else None
        blobs = self.chain.scale.layer.blobs
        return [blobs[0], blobs[1] if len(blobs) > 1 else None]

    # -- forward --------------------------------------------------------------------------------------------
    def build(self) -> Backward | None:
        """Build forward; returns what builds backward, None in TEST."""
        b, layer = self.b, self.layer
        src = b.desc(self.bottom)
        if src.dtype != b.dtype and src.dtype != DataType.f32:
            raise NotLoweredError("a source of another type")
        has_shift = self.spec.shift
        by_parts = not self.by_running and moments_by_parts(src)
        given = replace(self.spec, global_stats=self.by_running or by_parts)
        training = b.training or not given.global_stats
        seen = src if training else batch_norm.by_rows(src)
        self.primitive = batch_norm.forward(b.device, given, seen, training=training, layer=layer.name)
        self.src = b.kept_source(self.bottom, *self.tops)
        arguments = {Arg.SRC: self._seen(self.src), Arg.MEAN: self.mean, Arg.VARIANCE: self.variance}
        b.watch(self.bottom)
        self._copy_all()
        if self.affine is not None:
            arguments |= {Arg.SCALE: self.gamma, Arg.SHIFT: self.beta}
        source = b.value_of(self.bottom)
        workspace = self.primitive.outputs.get(Arg.WORKSPACE)
        if workspace is not None:
            arguments[Arg.WORKSPACE] = Memory(b.device, workspace)
        self.arguments = arguments
        if b.training or self.top.data_storage is not self.bottom.data_storage or not b.owns(self.bottom):
            self.dst = b.make(self.top, src)
        else:
            self.dst = b.make(self.top, src, self.src)
        arguments[Arg.DST] = self._seen(self.dst)
        self.skipped.save_mask()
        if by_parts:
            spare = None if self.dst is self.src or self.dst.desc != src else self.dst
            Moments(b, self.src, self.mean, self.variance, spare, layer.name)
        if self.by_running:
            self._copy_parameters(self._set_constants)
            rectified = self.chain.relu is not None
            affine = of_affine(b, source.bound, self.top, self._blobs, lambda: list(self.constants), rectified)
            self._call_forward(affine)
        else:
            self._call_forward(None)
            mean, variance = self.mean.numpy(), self.variance.numpy()
            layer.check_count(self.count)
            b.run(moving(layer, mean, variance, self.count))
            if self.spec.epsilon > 0:
                gamma, beta = self.gamma if self.spec.scale else None, self.beta if has_shift else None
                of_batch(b, self.top, (self.mean, self.variance), gamma, beta, self.count)
        self.skipped.make_data()
        if b.training:
            self._set_parts()
        return self.backward if b.training else None

    def _seen(self, memory: Memory) -> Memory:
        """Source or destination as the primitive describes it."""
        desc = self.primitive[Arg.SRC]
        return memory if memory.desc == desc else memory.view(desc)

    def _call_forward(self, bound: Bound | None) -> None:
        """Call the primitive. Its ReLU turns NaN into 0, which is mended here. bound: of the top by constants."""
        b = self.b
        if self.chain.relu is None:
            b.call(self.primitive, self.arguments)
        elif self.by_running:
            constants = Memory.wrap(b.device, self.constants)
            b.call_guarded(self.primitive, self.arguments, self._rectified, bound=bound, also=[constants])
        else:
            b.call(self.primitive, self.arguments)
            affine = (self.gamma, self.beta) if self.affine is not None else ()
            b.run(nan_restored((self.mean, *affine), self.dst))

    def _copy_all(self) -> None:
        """Steps that copy scale and shift, and running statistics if these are used."""
        if self.affine is not None:
            self._copy_parameters(self.copy_affine(self.gamma, self.beta))
        if self.by_running:
            self._copy_parameters(self._copy_running())

    @property
    def _blobs(self) -> list[Blob]:
        """Those of all layers of the chain."""
        return [blob for node in self.chain.nodes for blob in node.layer.blobs]

    def _copy_parameters(self, step: Step) -> None:
        """Run a step that copies parameters: in training in each pass, in TEST when they may have changed."""
        if self.b.ahead:
            self.b.when_changed(self._blobs, step)
        else:
            self.b.run(step)

    def _set_constants(self) -> None:
        """Bring factors and shifts of the channels by running statistics up to date."""
        with np.errstate(all="ignore"):  # a variance below 0 gives NaN
            self.constants[:] = self._constants()

    def _constants(self) -> tuple[Array, Array]:
        """Factors and shifts of the channels by running statistics, in float64."""
        scale = 1 / np.sqrt(self.variance.numpy().astype(np.float64) + self.layer.normalization.eps)
        if self.spec.scale:
            scale *= self.gamma.numpy()
        shift = -scale * self.mean.numpy()
        return scale, shift + self.beta.numpy() if self.spec.shift else shift

    def _rectified(self, x: Array) -> Array:
        y = self.skipped.normalized_of(x, True)
        return np.maximum(y, 0, out=y)

    def copy_affine(self, gamma: Memory, beta: Memory) -> Step:
        """A step that copies scale and shift into two memories."""
        assert self.affine is not None
        outs = gamma.numpy(), beta.numpy()
        sources = [(out, blob.data_storage) for out, blob in zip(outs, self.affine, strict=True) if blob]

        def step() -> None:
            for out, storage in sources:
                out[...] = storage.read()

        return step

    def _copy_running(self) -> Step:
        mean, variance = self.mean.numpy(), self.variance.numpy()

        def step() -> None:
            mean[...], variance[...] = self.layer.peek_running()

        return step

    # -- backward -------------------------------------------------------------------------------------------
    def backward(self) -> None:
        """Build the backward of all layers of the chain."""
        dy = self._backward(self._through(self.spec), self.top, self.affine, self._learns())
        if dy is not None:
            self.skipped.make_diffs(dy)

    def _backward(
        self,
        spec: batch_norm.NormSpec,
        top: Blob,
        affine: list[Blob | None] | None,
        learns: list[bool],
    ) -> Memory | None:
        """Steps from the diff of `top` to those of the bottom and of scale and shift; the diff of `top`."""
        b, wanted = self.b, self.chain.norm.propagate_down[0]
        if not wanted and not any(learns):
            return None
        if gradients_by_parts(self.src.desc) and (affine is not None or not spec.global_stats):
            return backward_by_parts(self, spec, top, affine, learns)
        parameters = spec.scale or spec.shift  # also of frozen ones: quirk "frozen scale and shift"
        # the layer's own primitive may have been given its statistics
        hint = batch_norm.forward(b.device, spec, self.primitive[Arg.SRC], layer=self.layer.name)
        down = batch_norm.backward(b.device, spec, hint, parameters=parameters, layer=self.layer.name)
        dy = b.diff(top, down[Arg.DIFF_DST])
        arguments = {**self.arguments, Arg.DIFF_DST: dy}
        if affine is not None:  # which may have changed since forward
            b.run(self.copy_affine(self.gamma_in_backward, self.beta_in_backward))
            arguments |= {Arg.SCALE: self.gamma_in_backward, Arg.SHIFT: self.beta_in_backward}
        adds = []
        if parameters and affine is not None:
            vector = MemoryDesc.plain((self.channels,))
            for arg, blob, learned in zip((Arg.DIFF_SCALE, Arg.DIFF_SHIFT), affine, learns, strict=True):
                if blob is None:
                    continue
                arguments[arg], add = b.weight_diff(blob, vector, vector)
                if learned:
                    adds.append(add)
        if wanted:
            arguments[Arg.DIFF_SRC] = b.make_diff(self.bottom, down[Arg.DIFF_SRC])
        else:
            arguments[Arg.DIFF_SRC] = Memory(b.device, down[Arg.DIFF_SRC])
        b.call(down, arguments)
        for add in adds:
            add()
        return dy

    def _set_parts(self) -> None:
        """Set how the backward of each layer of the chain is built by itself, from what forward saved."""
        chain = self.chain
        self.b.parts[chain.norm.index] = self._norm_alone
        if chain.scale is not None:
            self.b.parts[chain.scale.index] = partial(self._scale_alone, chain.scale)
        if chain.relu is not None:
            self.b.parts[chain.relu.index] = partial(from_result, self.b, chain.relu)

    def _norm_alone(self) -> None:
        own = self.chain.scale is None  # scale and shift are the layer's
        spec = replace(self.spec, relu=False, scale=own and self.spec.scale, shift=own and self.spec.shift)
        affine = self.affine if own else None
        self._backward(self._through(spec), self.tops[0], affine, self._learns() if own else [False, False])

    def _through(self, spec: batch_norm.NormSpec) -> batch_norm.NormSpec:
        """The settings for backward: with statistics as constants where the gradient is not to go through them."""
        constant = spec.global_stats or not self.layer.normalization.gradient_through_statistics
        return replace(spec, global_stats=constant)

    def _scale_alone(self, node: Node) -> None:
        """Backward of the Scale, in array code since it is rarely needed. Its bottom is the normalised x."""
        b, layer, bottom, top = self.b, node.layer, node.bottoms[0], node.tops[0]
        plain = MemoryDesc.plain(bottom.shape)
        dy = b.diff(top, plain).numpy()
        x = None if top is bottom else b.data(bottom, plain).numpy()
        dx = b.make_diff(bottom, plain).numpy() if node.propagate_down[0] else None
        vector = MemoryDesc.plain((self.channels,))
        learned = [(b.weight_diff(blob, vector, vector)) for blob in layer.blobs]
        others = (0, *range(2, bottom.ndim))
        gamma = layer.blobs[0].data_storage

        def step() -> None:
            values = (dy * (self.skipped.normalized(False) if x is None else x), dy)
            for (memory, _), value in zip(learned, values, strict=False):
                value.sum(others, out=memory.numpy())
            if dx is not None:
                np.multiply(dy, gamma.read().reshape((1, -1) + (1,) * (bottom.ndim - 2)), out=dx)

        b.run(step)
        for (_, add), wanted in zip(learned, layer.param_propagate_down, strict=True):
            if wanted:
                add()

    def _learns(self) -> list[bool]:
        """Whether scale and shift are learned."""
        if self.affine is None:
            return [False, False]
        if self.chain.scale is None:
            at = self.layer.normalization.blobs
            return [self.layer.param_propagate_down[i] for i in (at.gamma, at.beta) if i is not None]
        flags = self.chain.scale.layer.param_propagate_down
        return [flags[0], len(flags) > 1 and flags[1]]
