"""The layers of CTC, of recurrent nets, and DenseBlock."""

from __future__ import annotations

import numpy as np

from tests.layers.fork_fields.probe import LOSS, Probe

__all__ = ["PROBES"]

RNG = np.random.default_rng(12)
T, N, C = 8, 3, 5
SCORES = RNG.standard_normal((T, N, C)) * 2
PROBABLE = np.exp(SCORES / 4) / np.exp(SCORES / 4).sum(axis=2, keepdims=True)
READ = np.array([[1, 0, 0, 4], [2, 0, 0, 2], [3, 3, 3, 3]])  # the best class of each step of three sequences
LABELS = np.array([[1, 2, 2, -1], [3, 4, 1, 2], [2, -1, -1, -1]], float)
_FILLERS = 'Filter_Filler { type: "msra" } BN_Bias_Filler { type: "gaussian" std: 0.5 }'

PROBES = [
    Probe(
        "CTCLoss", "", [SCORES, LABELS],
        {
            "output_delay": "0 | 2",
            "blank_index": "0 | 4",
            "preprocess_collapse_repeated": "false | true",
            "ctc_merge_repeated": "true | false",
            "loss_calculation_t": "= 0 | 3",
            "blank_label": "0 | 4",
            "alphabet_size": "5 | 4",
            "time_step": "8 | 7",
            **LOSS,
            "loss_param.normalize": "- | true",
        },
        gradient=True,
    ),
    Probe(
        "CTCGreedyDecoder", "", [np.repeat(SCORES, 2, axis=0)],
        {
            "blank_index": "0 | 4",
            "ctc_merge_repeated": "true | false",
            "beam_width": "= 1000 | 2",
            "already_softmax": "= false | true",
        },
    ),
    Probe(
        "CTCBeamSearchDecoder", "", [PROBABLE, np.where(np.arange(T) > 0, 1.0, 0.0)[:, None].repeat(N, axis=1)],
        {
            "blank_index": "-1 | 0",
            "ctc_merge_repeated": "true | false",
            "beam_width": "1000 | 1",
            "already_softmax": "false | true",
        },
        tops=2,
    ),
    Probe(
        "ContinuationIndicator", "time_step: 4 batch_size: 3", [],
        {"time_step": "4 | 5", "batch_size": "3 | 2", "flag": "false | true"},
    ),
    Probe(
        "LabelsequenceAccuracy", "", [np.eye(C)[READ], np.array([[1, 4], [2, 2], [3, -1]], float)],
        {"blank_label": "0 | 4"},
    ),
    Probe(
        "DenseBlock", f"numTransition: 2 growthRate: 3 use_BC: true {_FILLERS}", [RNG.standard_normal((3, 4, 5, 3))],
        {
            "numTransition": "2 | 1",
            "initChannel": "= 4 | 16",
            "growthRate": "3 | 2",
            "pad_h": "! 0",
            "pad_w": "! 0",
            "conv_verticalStride": "! 2",
            "conv_horizentalStride": "! 2",
            "filter_H": "! 1",
            "filter_W": "! 1",
            "Filter_Filler": 'Filter_Filler { type: "msra" } | Filter_Filler { type: "xavier" }',
            "BN_Scaler_Filler": "- | BN_Scaler_Filler { value: 2 }",
            "BN_Bias_Filler": "BN_Bias_Filler { std: 0.5 } | BN_Bias_Filler { std: 1 }",
            "gpuIdx": "= 0 | 1",
            "use_dropout": "use_dropout: false dropout_amount: 0.5 | use_dropout: true dropout_amount: 0.5",
            "dropout_amount": "use_dropout: true dropout_amount: 0.1 | use_dropout: true dropout_amount: 0.5",
            "use_BC": "true | false",
            "BC_ultra_space_efficient": "= false | true",
            "workspace_MB": "= 8 | 16",
            "moving_average_fraction": "0.1 | 0.9",
        },
        gradient=True,
    ),
]  # fmt: skip
