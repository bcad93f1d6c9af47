"""What the settings say of the wrappers: their interpreters and the variables that they read. Plain values.

Apart from `model_settings`, which loads Dagster: commands that only look need none of it.
"""

from __future__ import annotations

from pipeline3d.settings import Settings

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


def pythons_of(settings: Settings) -> dict[str, str]:
    """The interpreter of each wrapper that has one."""
    pythons = {wrapper: getattr(settings, name) for wrapper, name in PYTHONS.items()}
    return {wrapper: str(path) for wrapper, path in pythons.items() if path}


def variables_of(settings: Settings) -> dict[str, str]:
    """What is configured for the wrappers, as the variables that they read."""
    told = {name.upper(): getattr(settings, name) for name in TOLD}
    return {name: str(value) for name, value in told.items() if value}
