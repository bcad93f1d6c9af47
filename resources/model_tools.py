"""Everything that makes a request's model run, as one resource: its weights, its memory, its programs."""

from __future__ import annotations

import dagster as dg

from resources.gpu import Device
from resources.model_places import ModelPlaces
from resources.models import Models
from resources.wrapper_process import WrapperPrograms


class ModelTools(dg.ConfigurableResource["ModelTools"]):
    """What the engines of the models work with on this host."""

    places: ModelPlaces
    models: Models
    programs: WrapperPrograms

    def device(self) -> Device:
        """Where models of this host run. Raises ModelNotReady where a GPU is wanted and there is none."""
        return self.models.devices.choose(self.places.wanted_device)
