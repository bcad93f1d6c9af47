"""The typed HTTP client of the service, for programs and for the command line."""

from pipeline3d.client.http_client import Pipeline3dClient

__all__ = ["Pipeline3dClient"]
