"""What the settings say of the models, as the resource that the assets use."""

from __future__ import annotations

from pipeline3d.settings import Settings
from pipeline3d.wrapper_settings import pythons_of, variables_of
from resources.gpu import Devices
from resources.jobs_database import JobsDatabase
from resources.model_places import ModelPlaces
from resources.model_tools import ModelTools
from resources.models import Models
from resources.wrapper_process import WRAPPERS_DIR, WrapperPrograms


def programs_of(settings: Settings) -> WrapperPrograms:
    """The wrappers with the environments that are configured for them."""
    return WrapperPrograms(
        wrappers_dir=str(WRAPPERS_DIR),
        log_dir=str(settings.data_dir / "logs" / "models"),
        pythons=pythons_of(settings),
        variables=variables_of(settings),
    )


def build_model_tools(settings: Settings, jobs_database: JobsDatabase) -> ModelTools:
    """Everything that the engines of the models need."""
    devices = Devices(
        jobs_database=jobs_database,
        lease_dir=str(settings.data_dir / "devices"),
        worker_id=settings.pipeline3d_worker_id,
    )
    return ModelTools(
        places=ModelPlaces(models_dir=str(settings.models_dir), use_gpu=settings.use_gpu),
        models=Models(devices=devices, peaks_file=str(settings.data_dir / "model_peaks.json")),
        programs=programs_of(settings),
    )
