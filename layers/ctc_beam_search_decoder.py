"""The layer type CTCBeamSearchDecoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.ctc import log_softmax
from dragon.bases.ctc_beam import beam_search
from dragon.bases.ctc_decoder import CTCDecoder
from dragon.bases.layer import register
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["CTCBeamSearchDecoder"]


@register()
class CTCBeamSearchDecoder(CTCDecoder):
    """The most probable label of each sequence, of those that a beam search finds: all paths that read as it count.

    Bottom 0: scores (T, N, C) before the softmax, log-probabilities as in OpenVINO's fork or, with `already_softmax`,
    probabilities. From step to step the `beam_width` most probable labels are kept. Costs are minus the logarithm of a
    label's probability, the accuracy beside marks is the fraction of sequences read without a fault. Further bottoms,
    and tops: see `dragon.bases.ctc_decoder`.
    """

    type = "CTCBeamSearchDecoder"
    host_only = "keeps a table of labels, whose number depends on the scores"
    by_sequences = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.param.ctc_decoder_param.beam_width < 1:
            self.bad_param("beam_width must be at least 1")

    def decode(self, scores: Array, lengths: Array | None) -> tuple[Array, Array, Array]:
        p = self.param.ctc_decoder_param
        scores = scores.astype(np.float64)
        if p.already_softmax:
            with np.errstate(divide="ignore", invalid="ignore"):  # a negative score gives NaN
                logs = np.log(scores)
        else:
            logs = log_softmax(scores)
        return beam_search(logs, self.blank, p.beam_width, lengths, p.ctc_merge_repeated)
