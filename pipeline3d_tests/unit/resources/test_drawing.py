"""Pictures come from the chosen renderer, and from the software one where the other breaks down."""

import pytest

from pipeline3d.errors import BrokenModelOutput
from resources.drawing import Drawing


def test_the_software_renderer_draws_unless_another_is_chosen():
    assert Drawing().draw(lambda by: by) == "software"
    assert Drawing(renderer="auto").draw(lambda by: by) == "auto"


def test_a_driver_that_breaks_down_costs_no_request():
    def draw(by: str) -> str:
        if by == "auto":
            raise RuntimeError("the context is lost")
        return by

    assert Drawing(renderer="auto").draw(draw) == "software"


def test_a_model_that_cannot_be_drawn_is_not_tried_twice():
    tried = []

    def draw(by: str) -> str:
        tried.append(by)
        raise BrokenModelOutput("It has no surface.", code="unrenderable_mesh")

    with pytest.raises(BrokenModelOutput):
        Drawing(renderer="auto").draw(draw)
    assert tried == ["auto"]
