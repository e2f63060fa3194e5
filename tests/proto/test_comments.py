from __future__ import annotations

import pytest

from dragon.proto import dragon_pb2 as pb
from dragon.proto.comments import message_comments


def test_the_comment_of_a_message_and_of_its_fields() -> None:
    found = message_comments("BNParameter")
    assert found.text.startswith("Batch normalisation as ")
    assert found.fields["frozen"] == "use stored statistics in training as well"
    assert message_comments("LossParameter").fields["normalize"] == "older form of normalization"
    assert message_comments("NoSuchParameter").fields == {}


@pytest.mark.parametrize("name", ["BatchNormParameter", "ConvolutionParameter", "PoolingParameter", "ScaleParameter"])
def test_no_field_of_the_usual_layers_goes_without_a_word(name: str) -> None:
    known = pb.DESCRIPTOR.message_types_by_name[name].fields_by_name
    assert set(message_comments(name).fields) == set(known)
