"""The layer type CTCGreedyDecoder."""

from __future__ import annotations

from dragon.bases.ctc import best_path
from dragon.bases.ctc_decoder import CTCDecoder
from dragon.bases.layer import register
from dragon.memory.storage import Array

__all__ = ["CTCGreedyDecoder"]


@register("CTCDecoder", "CtcDecoder", "CtcGreedyDecoder")
class CTCGreedyDecoder(CTCDecoder):
    """What the most probable path of each sequence reads as: repeated classes are one label, blanks are left out.

    Bottom 0: scores (T, N, C) or their softmax. Costs are minus the sum of the highest scores of a sequence, the
    accuracy beside marks is the mean of 1 - edit distance / longer length. Further bottoms, and tops: see
    `dragon.bases.ctc_decoder`.
    """

    type = "CTCGreedyDecoder"

    def decode(self, scores: Array, lengths: Array | None) -> tuple[Array, Array, Array]:
        merge = self.param.ctc_decoder_param.ctc_merge_repeated
        found, counts, highest = best_path(scores, self.blank, lengths, merge)
        return found, counts, -highest
