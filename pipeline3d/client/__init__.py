"""The typed client of the service, for programs and for the command line: blocking, and for asyncio.

with Pipeline3dClient("https://models.example.com", api_key) as client:
    job = client.generate("inflate-v1", "mug.jpg", show_progress=True)
    client.download(job["id"], "mug.glb")
"""

from pipeline3d.client.answers import Event, Job, Model, Page
from pipeline3d.client.async_client import AsyncPipeline3dClient
from pipeline3d.client.http_client import Pipeline3dClient
from pipeline3d.client.outcomes import JobFailed
from pipeline3d.client.progress import ProgressBar

__all__ = [
    "AsyncPipeline3dClient",
    "Event",
    "Job",
    "JobFailed",
    "Model",
    "Page",
    "Pipeline3dClient",
    "ProgressBar",
]
