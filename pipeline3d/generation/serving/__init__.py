"""Models that stay in memory, and the programs that hold them: started, watched, limited, ended.

`start_wrapper` runs one wrapper, `ModelHost` keeps models of both kinds warm within a device's memory.
"""

from pipeline3d.generation.serving.device_ledger import DeviceHold, DeviceLedger
from pipeline3d.generation.serving.environment import reduce_environment
from pipeline3d.generation.serving.events import Progress, WrapperRequest
from pipeline3d.generation.serving.memory import CPU, MemoryGauge, RamGauge, gauge_of
from pipeline3d.generation.serving.outputs import Done, Output, OutputLimits, clear_folder
from pipeline3d.generation.serving.peaks import PeakBook
from pipeline3d.generation.serving.process import ProcessLimits
from pipeline3d.generation.serving.residents import ModelHost
from pipeline3d.generation.serving.room import SharedRoom
from pipeline3d.generation.serving.runs import run_request
from pipeline3d.generation.serving.servable import InProcessModel, ModelSpec, WrapperModel
from pipeline3d.generation.serving.standing import HostStanding, ModelCounts, ResidentStanding
from pipeline3d.generation.serving.starting import Description, Mode, describe, start_wrapper
from pipeline3d.generation.serving.use import Use
from pipeline3d.generation.serving.watching import Patience
from pipeline3d.generation.serving.wrapper import Wrapper, WrapperProgram

__all__ = [
    "CPU",
    "Description",
    "DeviceHold",
    "DeviceLedger",
    "Done",
    "HostStanding",
    "InProcessModel",
    "MemoryGauge",
    "Mode",
    "ModelCounts",
    "ModelHost",
    "ModelSpec",
    "Output",
    "OutputLimits",
    "Patience",
    "PeakBook",
    "ProcessLimits",
    "Progress",
    "RamGauge",
    "ResidentStanding",
    "SharedRoom",
    "Use",
    "Wrapper",
    "WrapperModel",
    "WrapperProgram",
    "WrapperRequest",
    "clear_folder",
    "describe",
    "gauge_of",
    "reduce_environment",
    "run_request",
    "start_wrapper",
]
