"""What the settings say of the models, as the resource that the assets use."""

from __future__ import annotations

from pipeline3d.settings import Settings
from resources.gpu import Devices
from resources.jobs_database import JobsDatabase
from resources.model_places import ModelPlaces
from resources.model_tools import ModelTools
from resources.models import Models
from resources.wrapper_process import WRAPPERS_DIR, WrapperPrograms

PYTHONS = {
    "sf3d": "sf3d_python_path",
    "dreamfusion": "dreamfusion_python_path",
    "triposr": "triposr_python_path",
}
"""The setting with the interpreter of each wrapper."""
TOLD = (
    *PYTHONS.values(),
    *("sf3d_script_path", "sf3d_model_path", "dreamfusion_script_path", "dreamfusion_config"),
    *("dreamfusion_sd_model_path", "triposr_script_path", "triposr_model_path"),
)
"""Settings that the wrappers read themselves, as environment variables of the same name."""


def programs_of(settings: Settings) -> WrapperPrograms:
    """The wrappers with the environments that are configured for them."""
    told = {name.upper(): getattr(settings, name) for name in TOLD}
    pythons = {wrapper: getattr(settings, name) for wrapper, name in PYTHONS.items()}
    return WrapperPrograms(
        wrappers_dir=str(WRAPPERS_DIR),
        log_dir=str(settings.data_dir / "logs" / "models"),
        pythons={wrapper: str(path) for wrapper, path in pythons.items() if path},
        variables={name: str(value) for name, value in told.items() if value},
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
